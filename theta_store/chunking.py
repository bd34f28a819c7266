"""Where a tensor is cut: a function of dtype and shape alone.

Owns the chunk rule of format version 1. Pure; must not know bytes, files or the store.

A *unit* is the longest run of trailing axes, axis 0 excluded, that takes at most 1 MiB and fills
whole blocks; if there is none, one block. A chunk is as many whole units as fit into 1 MiB; the
last one may be shorter. A 0-d tensor is one chunk, an empty one has none.
"""

from theta_store.dtypes import DType

CHUNK_BYTES = 1 << 20


def unit_bytes(dtype: DType, shape: tuple[int, ...]) -> int:
    """Return the bytes of one unit, the smallest run that is never cut."""
    best = dtype.block
    count = 1
    for axis in reversed(shape[1:]):
        count *= axis
        if count % dtype.block == 0 and 0 < count // dtype.block * dtype.nbytes <= CHUNK_BYTES:
            best = max(best, count)
    return best // dtype.block * dtype.nbytes


def chunk_bytes(dtype: DType, shape: tuple[int, ...]) -> int:
    """Return the plain bytes of every chunk but the last."""
    unit = unit_bytes(dtype, shape)
    return CHUNK_BYTES // unit * unit


def split(dtype: DType, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (start, stop) byte ranges of a tensor's chunks, in order."""
    total = dtype.size_of(shape)
    step = chunk_bytes(dtype, shape)
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def split_bytes(total: int) -> list[tuple[int, int]]:
    """Return the chunk ranges of a blob of ``total`` bytes."""
    return [(start, min(start + CHUNK_BYTES, total)) for start in range(0, total, CHUNK_BYTES)]
