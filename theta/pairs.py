"""Two tensors of one shape side by side, a run of elements at a time.

Owns the pair and how its bytes become numbers. Must not know where bytes come from, nor what is
measured.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import is_computable, widen
from theta_store.dtypes import DType
from theta_store.errors import UsageError

Numbers = NDArray[np.float64] | NDArray[np.complex128]

_E8M0_BIAS = 127
_E8M0_NAN = 0xFF


@dataclass(frozen=True)
class Pair:
    """The elements from number ``start`` on: plain bytes of the old tensor and of the new one.

    Where both have the same bytes, ``new`` is the very object ``old``.
    """

    start: int
    old: bytes | bytearray
    new: bytes | bytearray
    old_row: DType
    new_row: DType

    @property
    def same(self) -> bool:
        """Whether the bytes are known to be the same."""
        return self.new is self.old

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.old) // self.old_row.nbytes * self.old_row.block

    @cached_property
    def left(self) -> Numbers:
        """The old values."""
        return numbers(self.old, self.old_row)

    @cached_property
    def right(self) -> Numbers:
        """The new values."""
        return self.left if self.same else numbers(self.new, self.new_row)

    @cached_property
    def step(self) -> Numbers:
        """New minus old; whole numbers of 64 bits are subtracted before they are rounded."""
        rows = {self.old_row.name, self.new_row.name}
        if rows in ({"I64"}, {"U64"}):
            return _whole_step(self.old, self.new, self.old_row)
        with np.errstate(all="ignore"):
            step: Numbers = self.right - self.left
        return step


def is_measurable(row: DType) -> bool:
    """Say whether the elements of a dtype are numbers: all but quantised blocks and opaque ones."""
    return row.kind in {"bool", "int", "uint", "float", "complex"}


def numbers(plain: bytes | bytearray, row: DType) -> Numbers:
    """Return plain bytes as float64 or complex128: exact but for whole numbers above 2**53."""
    # Some NaNs make a processor raise a flag when they are converted.
    with np.errstate(invalid="ignore"):
        return _numbers(plain, row)


def _numbers(plain: bytes | bytearray, row: DType) -> Numbers:
    if row.name == "F8_E8M0":
        return _powers(np.frombuffer(plain, np.uint8))
    if is_computable(row):
        return _float64(widen(memoryview(plain), row))
    match row.kind:
        case "bool":
            return _float64(np.frombuffer(plain, np.uint8) != 0)
        case "int" | "uint":
            return _float64(np.frombuffer(plain, row.carrier))
        case "complex":
            return _float64(np.frombuffer(plain, f"<f{row.width}")).view(np.complex128)
    raise UsageError(f"values of {row.name} cannot be measured")


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)


def _powers(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what E8M0 codes stand for: powers of two, and one NaN (OCP MX specification)."""
    values: NDArray[np.float64] = np.ldexp(1.0, codes.astype(np.int32) - _E8M0_BIAS)
    return np.where(codes == _E8M0_NAN, np.nan, values)


def _whole_step(old: bytes | bytearray, new: bytes | bytearray, row: DType) -> NDArray[np.float64]:
    left, right = np.frombuffer(old, row.carrier), np.frombuffer(new, row.carrier)
    # Modulo 2**64 the difference of the greater and the smaller is right for either sign.
    up = right.view(np.uint64) - left.view(np.uint64)
    down = left.view(np.uint64) - right.view(np.uint64)
    return np.where(right >= left, up.astype(np.float64), -down.astype(np.float64))
