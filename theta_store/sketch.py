"""The sketch of a tensor: a few hundred bytes by which a relative is known without its name.

Owns the positions that are looked at, what is kept of each element, and when two sketches are
near. Pure; must not know where sketches are kept.

A tensor of a floating-point dtype, with two axes or more and 64 KiB or more, has a sketch: one byte
for each of 256 elements. With ``stratum = elements // 16`` the elements are, for i from 0 to 15,
the 16 from ``i * stratum + r[i] mod (stratum - 15)`` on, where r[i] is the i-th output of
SplitMix64 seeded with 0 (r[0] is e220a8397b1dcdaf). The byte is the sign in bit 7 and, below it,
the exponent less the dtype's bias, modulo 128; 64 where the bits of the exponent are all zero. So
the sketch of a copy in another dtype is nearly the same.

Training moves a weight by a small part of itself and rarely changes its sign or exponent; of two
tensors that have nothing to do with each other about 85 % of these bytes differ.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from theta_store.dtypes import DType, dtype
from theta_store.scratch import Bytes

ELEMENTS = 256
RUNS, RUN = 16, 16
LEAST_BYTES = 1 << 16
# Weights that moved by 30 % of themselves are about this far, and a base saves them 4 to 10 %; of
# unrelated tensors more than 200 bytes differ.
FAR = 128
_ZERO = 64
_MASK = (1 << 64) - 1

# Bits of the exponent, bits of the mantissa, bias.
_FLOATS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "F64": (11, 52, 1023),
        "F32": (8, 23, 127),
        "BF16": (8, 7, 127),
        "F16": (5, 10, 15),
        "F8_E4M3": (4, 3, 7),
        "F8_E5M2": (5, 2, 15),
        "F8_E4M3FNUZ": (4, 3, 8),
        "F8_E5M2FNUZ": (5, 2, 16),
    }
)
DTYPES: Sequence[str] = tuple(_FLOATS)


@lru_cache(maxsize=1024)
def has_sketch(kind: str, shape: tuple[int, ...]) -> bool:
    """Say whether tensors of a dtype and shape have sketches."""
    if kind not in _FLOATS or len(shape) < 2:
        return False
    return math.prod(shape) * dtype(kind).nbytes >= LEAST_BYTES


def run_starts(count: int) -> tuple[int, ...]:
    """Return the first element of each run in a tensor of ``count`` elements, ascending."""
    stratum = count // RUNS
    state, starts = 0, []
    for place in range(RUNS):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        starts.append(place * stratum + (mixed ^ (mixed >> 31)) % (stratum - RUN + 1))
    return tuple(starts)


@lru_cache(maxsize=256)
def positions(count: int) -> tuple[int, ...]:
    """Return the 256 elements looked at, ascending."""
    return tuple(start + place for start in run_starts(count) for place in range(RUN))


def codes(plain: Bytes, row: DType) -> Bytes:
    """Return what a sketch keeps of elements, one byte each."""
    exponent_bits, mantissa_bits, bias = _FLOATS[row.name]
    words = plain.view(f"<u{row.nbytes}").astype(np.uint64)
    exponent = (words >> np.uint64(mantissa_bits)) & np.uint64((1 << exponent_bits) - 1)
    kept = np.where(exponent == 0, _ZERO, (exponent.astype(np.int64) - bias) & 0x7F)
    sign = (words >> np.uint64(exponent_bits + mantissa_bits)).astype(np.uint8) << np.uint8(7)
    return kept.astype(np.uint8) | sign


@dataclass(frozen=True)
class Sampler:
    """Collects the elements of one tensor's sketch as its chunks pass, in any order or thread."""

    row: DType
    positions: tuple[int, ...]
    elements: Bytes

    @classmethod
    def of(cls, kind: str, shape: tuple[int, ...]) -> "Sampler | None":
        """Return a sampler, or None where tensors of this dtype and shape have no sketch."""
        if not has_sketch(kind, shape):
            return None
        row = dtype(kind)
        return cls(row, positions(math.prod(shape)), np.zeros((ELEMENTS, row.nbytes), np.uint8))

    def feed(self, start: int, plain: memoryview) -> None:
        """Take the plain bytes at ``start``, whole elements; they are not kept."""
        size = self.row.nbytes
        first, last = start // size, (start + len(plain)) // size
        # Not numpy's search: this is asked of every chunk, and that lets other threads in between.
        low, high = bisect_left(self.positions, first), bisect_left(self.positions, last)
        if low < high:
            words = np.frombuffer(plain, np.uint8).reshape(-1, size)
            self.elements[low:high] = words[np.array(self.positions[low:high]) - first]

    def finish(self) -> bytes:
        """Return the sketch, once all bytes have passed."""
        return codes(self.elements.reshape(-1), self.row).tobytes()


def read_sketch(kind: str, shape: tuple[int, ...], read: Callable[[int, int], Bytes]) -> bytes:
    """Return the sketch of a tensor whose bytes are read by range: 16 short ones."""
    row = dtype(kind)
    starts = (start * row.nbytes for start in run_starts(math.prod(shape)))
    parts = [read(start, start + RUN * row.nbytes) for start in starts]
    return codes(np.concatenate(parts), row).tobytes()


def nearest(sketch: bytes, others: Sequence[bytes]) -> int | None:
    """Return the place of the nearest sketch, the first of several; None where all are far.

    The distance is the number of bytes that differ.
    """
    if not others:
        return None
    rows = np.frombuffer(b"".join(others), np.uint8).reshape(-1, ELEMENTS)
    distances = np.count_nonzero(rows != np.frombuffer(sketch, np.uint8), axis=1)
    place = int(distances.argmin())
    return place if distances[place] < FAR else None
