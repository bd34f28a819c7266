"""The order of elements in memory: permute, gather, scatter, and turn words round.

Owns pure functions between a tensor's plain bytes (little-endian, C order) and the order in which
a file holds them. Must not know files, layouts or formats: bytes in, bytes out, bits untouched.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from theta_store.dtypes import DType
from theta_store.errors import MalformedRecord

Buffer = bytes | bytearray | memoryview
Shape = tuple[int, ...]

AXES = 64
_CARRIERS = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}


def permute(plain: Buffer, row: DType, shape: Shape, axes: Shape) -> NDArray[np.uint8]:
    """Return the bytes of an array of ``shape`` transposed by ``axes`` and made contiguous."""
    if row.block != 1 or len(shape) > AXES or sorted(axes) != list(range(len(shape))):
        raise MalformedRecord(f"{row.name} of {len(shape)} axes cannot be permuted by {axes}")
    array = np.frombuffer(plain, _carrier(row)).reshape(shape)
    return _flat(np.transpose(array, axes))


def gather(region: Buffer, row: DType, shape: Shape, strides: Shape) -> NDArray[np.uint8]:
    """Return, in C order, the elements that lie at ``sum(index * strides)`` bytes of ``region``."""
    check_fit(len(region), row, shape, strides)
    array = np.ndarray(shape, _carrier(row), region, strides=_steps(shape, strides))
    return _flat(array)


def scatter(
    plain: Buffer, out: bytearray | memoryview, row: DType, shape: Shape, strides: Shape
) -> None:
    """Lay elements in C order at ``sum(index * strides)`` bytes of ``out``."""
    check_fit(len(out), row, shape, strides)
    steps = _steps(shape, strides)
    target: NDArray[np.generic] = np.ndarray(shape, _carrier(row), out, strides=steps)
    target[...] = np.frombuffer(plain, _carrier(row)).reshape(shape)


def swapped(plain: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return the bytes with each word of ``width`` bytes turned round; 0 and 1 change nothing."""
    if width <= 1:
        return plain
    if len(plain) % width:
        raise MalformedRecord(f"{len(plain)} bytes are no whole words of {width}")
    return np.ascontiguousarray(plain.reshape(-1, width)[:, ::-1]).reshape(-1)


def check_fit(size: int, row: DType, shape: Shape, strides: Sequence[int]) -> None:
    """Refuse elements that would lie outside a region of ``size`` bytes, or that have no order."""
    if row.block != 1 or len(shape) > AXES or len(strides) != len(shape):
        raise MalformedRecord(f"{row.name} of {len(shape)} axes cannot lie with {len(strides)}")
    last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    # Elements that share bytes are no tensor; above all they must not decide what is allocated.
    needed = max(last + row.nbytes, math.prod(shape) * row.nbytes)
    if min(shape, default=1) < 1 or min(strides, default=0) < 0 or needed > size:
        raise MalformedRecord(f"a tensor of shape {shape} lies outside its {size} bytes")


def _carrier(row: DType) -> str:
    # An integer (or complex, never computed with) of the element's size moves any bits unchanged.
    return _CARRIERS[row.nbytes]


def _steps(shape: Shape, strides: Shape) -> Shape:
    # No step is ever taken along an axis of one element; files may claim any stride there.
    return tuple(stride if length > 1 else 0 for length, stride in zip(shape, strides, strict=True))


def _flat(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
