"""The order-0 bound: what an ideal coder of single symbols would need, tables not counted.

Owns two bounds per tensor, of which the smaller counts. Alone: the entropy of "zero or
not", then of the sign, of the exponent and of the mantissa by groups of 8 bits, each by itself
(what is no float or has one byte: byte by byte). Against the first parent's tensor
of equal name, dtype and shape: the bit patterns subtracted; the entropy of (sign, bit length, next
three bits) of the difference given the exponent of the parent's element, further bits raw. It
knows no structure across elements (rank, rows, casts, sums), so a predictor may go below it.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.storage.contents import Array, is_embedding, read_contents
from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Measured, Scheme

Words = NDArray[np.uint64]
MANTISSA = {"F64": 52, "F32": 23, "BF16": 7, "F16": 10, "F8_E4M3": 3}
NEXT_BITS = 3


def order0(history: History) -> Measured:
    """Return the bound of every commit; the bytes around tensors are left out."""
    return Measured(tuple(_file(step.path, history.parent(step)) for step in history.steps))


@lru_cache(maxsize=256)
def _file(path: Path, parent: Path | None) -> Cost:
    contents = read_contents(path)
    bases = {} if parent is None else read_contents(parent).tensors
    sizes = {name: tensor_bytes(array, bases.get(name)) for name, array in contents.tensors.items()}
    embedding = sum(size for name, size in sizes.items() if is_embedding(name))
    return Cost(round(sum(sizes.values())), round(embedding))


def tensor_bytes(array: Array, base: Array | None) -> float:
    """Return the bound of a tensor, given its older self or None."""
    if not array.plain.size:
        return 0.0
    bits = alone_bits(array)
    if base is not None and array.fits(base):
        bits = min(bits, against_bits(array, base))
    return bits * (array.plain.size // array.width) / 8


def alone_bits(array: Array) -> float:
    """Return bits per element of a tensor without a parent; non-floats byte by byte."""
    words = _words(array)
    rest = words[words != 0]
    if rest.size == words.size or not rest.size:
        return _fields_bits(words, array)
    zero = _entropy((words == 0).astype(np.int64))
    return zero + rest.size / words.size * _fields_bits(rest, array)


def _fields_bits(words: Words, array: Array) -> float:
    mantissa, top = MANTISSA.get(array.dtype), 8 * array.width
    if mantissa is None or array.width == 1:
        fields = [(low, 8) for low in range(0, top, 8)]
    else:
        groups = [(low, min(8, mantissa - low)) for low in range(0, mantissa, 8)]
        fields = [(top - 1, 1), (mantissa, top - 1 - mantissa), *groups]
    return sum(_entropy(_field(words, low, width)) for low, width in fields)


def against_bits(array: Array, base: Array) -> float:
    """Return bits per element of the difference to a tensor of equal dtype and shape."""
    signed = np.dtype(f"<i{array.width}")
    new, old = (tensor.plain.view(f"<u{tensor.width}") for tensor in (array, base))
    difference = (new - old).view(signed).astype(np.int64)
    size = np.abs(difference).astype(np.uint64)
    # frexp of a float64 is exact up to 53 bits; an int64 tensor's bound may be off by one bit.
    length = np.frexp(size.astype(np.float64))[1]
    raw = np.maximum(0, length - 1 - NEXT_BITS)
    symbol = (size >> raw.astype(np.uint64)).astype(np.int64) + (length.astype(np.int64) << 4)
    symbol = 2 * symbol + (difference < 0)
    context = _context(base)
    joint = _entropy(symbol + context * 4096)
    return joint - _entropy(context) + float(raw.mean())


def _context(base: Array) -> NDArray[np.int64]:
    """Return the exponents of the parent's elements; integers have none."""
    words, mantissa = _words(base), MANTISSA.get(base.dtype)
    if mantissa is None:
        return np.zeros(words.size, np.int64)
    return _field(words, mantissa, 8 * base.width - 1 - mantissa)


def _words(array: Array) -> Words:
    return array.plain.view(f"<u{array.width}").astype(np.uint64)


def _field(words: Words, low: int, width: int) -> NDArray[np.int64]:
    return (words >> np.uint64(low) & np.uint64((1 << width) - 1)).astype(np.int64)


def _entropy(symbols: NDArray[np.int64]) -> float:
    """Return the entropy in bits of the symbols' own frequencies."""
    counts = np.bincount(symbols)
    share = counts[counts > 0] / symbols.size
    return float(-(share * np.log2(share)).sum()) + 0.0


ORDER0 = Scheme(
    "order-0 bound",
    "bound",
    "entropy of sign, exponent, mantissa; or of the difference given the parent's exponent",
    order0,
)
