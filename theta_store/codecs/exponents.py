"""The order that sorts a residual: by the exponents of a key, which the reader has as well.

An optimiser moves all weights by about the same amount, so a weight's exponent says by how many
units in the last place it moves: sorted by exponents, equal residuals lie together, and the order
costs no bytes.

Owns how exponents are read (the codes are on disk), the order and its groups. Must not know
residuals or payloads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from theta_store.codecs.residual import words_of
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError
from theta_store.kernels import words_in
from theta_store.scratch import Bytes, Scratch

# The eight bits behind the sign of a 32- or 16-bit word; five of a half; a double's eleven, as a
# single would have them (less 896, no less than 0, no more than 255); four and five of a byte.
SINGLE, HALF, DOUBLE, FOUR_BITS, FIVE_BITS = range(1, 6)
# A double's bias is 1023, a single's 127.
_LESS_BIAS = 896
GROUP_LEAST = 4096
# Sorting more at once falls out of the processor's caches.
SORTED_AT_ONCE = 1 << 17

_CODES: Mapping[str, int] = MappingProxyType(
    {
        "F32": SINGLE,
        "BF16": SINGLE,
        "C64": SINGLE,
        "F16": HALF,
        "C32": HALF,
        "F64": DOUBLE,
        "C128": DOUBLE,
        "F8_E4M3": FOUR_BITS,
        "F8_E4M3FNUZ": FOUR_BITS,
        "F8_E5M2": FIVE_BITS,
        "F8_E5M2FNUZ": FIVE_BITS,
    }
)
# By code and bytes of a word: how far the word without its sign bit is shifted to the right.
_SHIFTS: Mapping[tuple[int, int], int] = MappingProxyType(
    {
        (SINGLE, 4): 24,
        (SINGLE, 2): 8,
        (HALF, 2): 11,
        (DOUBLE, 8): 53,
        (FOUR_BITS, 1): 4,
        (FIVE_BITS, 1): 3,
    }
)


@dataclass(frozen=True, slots=True)
class Order:
    """A key's words in the order of their exponents; equal exponents keep the key's order.

    ``positions``: where in the key each word of the order stands. ``bounds``: the ends of the
    groups of like exponents, ascending, the last one the number of words; a group of fewer than
    4096 words is joined with the next one, the last such one with the one before.
    """

    code: int
    width: int
    positions: NDArray[np.int32]
    bounds: tuple[int, ...]

    def indices(self, scratch: Scratch) -> NDArray[np.intp]:
        """Return the positions in numpy's own type of index, in scratch until the next call."""
        size = len(self.positions) * np.dtype(np.intp).itemsize
        indices = scratch.array("order", size).view(np.intp)
        np.copyto(indices, self.positions)
        return indices


def exponent_code(dtype: DType) -> int | None:
    """Return how exponents of this dtype are read; None: its words have none."""
    return _CODES.get(dtype.name)


def order_of(key: Bytes | memoryview, code: int, width: int, scratch: Scratch) -> Order:
    """Return the order of a key chunk's words of ``width`` bytes.

    It depends on the key and the code alone, so that one order serves every residual sorted by this
    key. A code that words of this width do not have is an `IntegrityError`.
    """
    exponents = _exponents(key, code, width, scratch)
    local, counts = _sorted_parts(exponents, scratch)
    positions = np.empty(len(exponents), np.int32)
    if len(counts) == 1:
        positions[:] = local
    else:
        _merge_parts(local, counts, positions)
    return Order(code, width, positions, _bounds(counts.sum(axis=0).tolist()))


def _exponents(key: Bytes | memoryview, code: int, width: int, scratch: Scratch) -> Bytes:
    shift = _SHIFTS.get((code, width))
    if shift is None:
        raise IntegrityError(f"words of {width} bytes have no exponents of kind {code}")
    words = words_of(key, width)
    unsigned = words_in(scratch, "unsigned words", len(words), width)
    np.add(words, words, out=unsigned)
    np.right_shift(unsigned, shift, out=unsigned)
    if code == DOUBLE:
        np.clip(unsigned, _LESS_BIAS, _LESS_BIAS + 255, out=unsigned)
        np.subtract(unsigned, _LESS_BIAS, out=unsigned)
    exponents = scratch.array("exponents", len(words))
    np.copyto(exponents, unsigned, casting="unsafe")
    return exponents


def _sorted_parts(
    exponents: Bytes, scratch: Scratch
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the order within each part, and per part how many words have each exponent."""
    starts = range(0, max(len(exponents), 1), SORTED_AT_ONCE)
    counts = np.zeros((len(starts), 256), np.int64)
    local = scratch.array("parts", 4 * len(exponents)).view(np.int32)
    for number, start in enumerate(starts):
        part = exponents[start : start + SORTED_AT_ONCE]
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.arange(256, dtype=np.uint8), side="right")
        counts[number] = np.diff(ends, prepend=0)
        run = local[start : start + len(part)]
        np.copyto(run, order, casting="unsafe")
        np.add(run, start, out=run)
    return local, counts


def _merge_parts(
    local: NDArray[np.int32], counts: NDArray[np.int64], positions: NDArray[np.int32]
) -> None:
    """Put the runs of each exponent together, the parts in their order."""
    source = 0
    by_exponent = counts.T.ravel()
    starts = (np.cumsum(by_exponent) - by_exponent).reshape(counts.T.shape).T
    runs: list[tuple[int, int]] = np.stack([counts, starts], axis=-1)[counts > 0].tolist()
    for count, start in runs:
        positions[start : start + count] = local[source : source + count]
        source += count


def _bounds(counts: list[int]) -> tuple[int, ...]:
    bounds: list[int] = []
    end = gathered = 0
    for count in counts:
        end += count
        gathered += count
        if gathered >= GROUP_LEAST:
            bounds.append(end)
            gathered = 0
    if gathered or not bounds:
        bounds[-1:] = [end]
    return tuple(bounds)
