"""Content-defined cuts by a gear hash, computed for all positions at once.

Owns where a run of bytes is cut. The hash of a position is the sum of the table's values of the
last 64 bytes, each shifted by its distance; doubling the window six times gives it without a loop.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.storage.contents import Plain

MINIMUM, MAXIMUM = 8 << 10, 128 << 10
HIGH_BITS = 16
_WINDOW_DOUBLINGS = 6
_PIECE = 1 << 20
_SEED = 64


def cut(data: Plain) -> list[int]:
    """Return the ends of the chunks, the end of the data last."""
    ends, start = [], 0
    candidates = _candidates(data)
    while start < data.size:
        first = int(np.searchsorted(candidates, start + MINIMUM))
        found = int(candidates[first]) if first < candidates.size else data.size
        start = min(found, start + MAXIMUM, data.size)
        ends.append(start)
    return ends


def _candidates(data: Plain) -> NDArray[np.int64]:
    """Return the positions after which the hash allows a cut, piece by piece to stay in cache."""
    table = np.random.default_rng(_SEED).integers(0, 1 << 64, 256, np.uint64)
    overlap = 1 << _WINDOW_DOUBLINGS
    found = []
    for start in range(0, data.size, _PIECE):
        before = max(0, start - overlap)
        hashes = _hashes(data[before : start + _PIECE], table)[start - before :]
        found.append(np.flatnonzero(hashes >> np.uint64(64 - HIGH_BITS) == 0) + start + 1)
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _hashes(data: Plain, table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes = table[data]
    for doubling in range(_WINDOW_DOUBLINGS):
        width = 1 << doubling
        if hashes.size > width:
            older = hashes[:-width] << np.uint64(width)
            hashes[width:] += older
    return hashes
