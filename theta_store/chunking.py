"""Where a tensor is cut: a function of dtype and shape alone.

Owns the chunk rule of format version 1. Pure; must not know bytes, files or the store.

A *unit* is the longest run of trailing axes, axis 0 excluded, that takes at most 1 MiB and fills
whole blocks; if there is none, one block. A chunk is as many whole units as fit into 1 MiB; the
last one may be shorter. A 0-d tensor is one chunk, an empty one has none.
"""

from theta_store.dtypes import DType, dtype
from theta_store.errors import IntegrityError
from theta_store.ids import ChunkId
from theta_store.records import Blob, Tensor

CHUNK_BYTES = 1 << 20


def unit_bytes(row: DType, shape: tuple[int, ...]) -> int:
    """Return the bytes of one unit, the smallest run that is never cut."""
    best = row.block
    count = 1
    for axis in reversed(shape[1:]):
        count *= axis
        if count % row.block == 0 and 0 < count // row.block * row.nbytes <= CHUNK_BYTES:
            best = max(best, count)
    return best // row.block * row.nbytes


def chunk_bytes(row: DType, shape: tuple[int, ...]) -> int:
    """Return the plain bytes of every chunk but the last."""
    unit = unit_bytes(row, shape)
    return CHUNK_BYTES // unit * unit


def split(row: DType, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (start, stop) byte ranges of a tensor's chunks, in order."""
    total = row.size_of(shape)
    step = chunk_bytes(row, shape)
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def split_bytes(total: int) -> list[tuple[int, int]]:
    """Return the chunk ranges of a blob of ``total`` bytes."""
    return [(start, min(start + CHUNK_BYTES, total)) for start in range(0, total, CHUNK_BYTES)]


def ranges_of(record: Tensor | Blob) -> list[tuple[int, int]]:
    """Return the byte range of each chunk; a record that names another number is refused."""
    if isinstance(record, Tensor):
        ranges = split(dtype(record.dtype), record.shape)
    else:
        ranges = split_bytes(record.size)
    if len(ranges) != len(record.chunks):
        raise IntegrityError(
            f"a {record.kind} names {len(record.chunks)} chunks, not {len(ranges)}"
        )
    return ranges


def chunks_within(record: Tensor | Blob, start: int, stop: int) -> list[ChunkId]:
    """Return the chunks that hold any of the bytes ``start`` to ``stop``."""
    return [
        id_
        for id_, (left, right) in zip(record.chunks, ranges_of(record), strict=True)
        if left < stop and start < right
    ]
