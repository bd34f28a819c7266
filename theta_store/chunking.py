"""Where a tensor is cut: a function of dtype and shape alone.

Owns the chunk rule of format version 1. Pure; must not know bytes, files or the store.

A *unit* is the longest run of trailing axes, axis 0 excluded, that takes at most 1 MiB and fills
whole blocks; if there is none, one block. A chunk is as many whole units as fit into 1 MiB; the
last one may be shorter. A 0-d tensor is one chunk, an empty one has none.
"""

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from theta_store.dtypes import DType, dtype
from theta_store.errors import IntegrityError
from theta_store.ids import ChunkId
from theta_store.records import Blob, Tensor

CHUNK_BYTES = 1 << 20
# What is smaller than a chunk travels together: so many bytes, and so many pieces.
BATCH_BYTES = CHUNK_BYTES
BATCH_PIECES = 256


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


class Cuts(msgspec.Struct, frozen=True):
    """Where ``total`` plain bytes are cut: every ``step`` bytes; nothing is listed."""

    total: int
    step: int

    def __len__(self) -> int:
        return -(-self.total // self.step)

    def range(self, number: int) -> tuple[int, int]:
        """Return the (start, stop) byte range of a chunk by its number."""
        start = number * self.step
        return start, min(start + self.step, self.total)

    def ranges(self) -> list[tuple[int, int]]:
        """Return the byte ranges of all chunks, in order."""
        if 0 < self.total <= self.step:
            return [(0, self.total)]
        return [self.range(number) for number in range(len(self))]

    def touched(self, start: int, stop: int) -> slice:
        """Return the numbers of the chunks that hold any of the bytes ``start`` to ``stop``."""
        last = min(len(self), -(-max(0, stop) // self.step))
        first = max(0, start) // self.step if start < self.total else last
        return slice(min(first, last), last)


@lru_cache(maxsize=1024)
def cuts(name: str, shape: tuple[int, ...]) -> Cuts:
    """Return where a tensor of the dtype ``name`` is cut."""
    row = dtype(name)
    return Cuts(row.size_of(shape), chunk_bytes(row, shape))


def split(name: str, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (start, stop) byte ranges of a tensor's chunks, in order."""
    return cuts(name, shape).ranges()


def split_bytes(total: int) -> list[tuple[int, int]]:
    """Return the chunk ranges of a blob of ``total`` bytes."""
    return Cuts(total, CHUNK_BYTES).ranges()


def cuts_of(record: Tensor | Blob) -> Cuts:
    """Return where a record's bytes are cut; one that names another number of chunks is refused."""
    if isinstance(record, Tensor):
        found = cuts(record.dtype, record.shape)
    else:
        found = Cuts(record.size, CHUNK_BYTES)
    if len(found) != len(record.chunks):
        raise IntegrityError(f"a {record.kind} names {len(record.chunks)} chunks, not {len(found)}")
    return found


def ranges_of(record: Tensor | Blob) -> list[tuple[int, int]]:
    """Return the byte range of each chunk; a record that names another number is refused."""
    return cuts_of(record).ranges()


def chunks_within(record: Tensor | Blob, start: int, stop: int) -> tuple[ChunkId, ...]:
    """Return the chunks that hold any of the bytes ``start`` to ``stop``.

    The cost grows with these chunks, not with those of the record.
    """
    return record.chunks[cuts_of(record).touched(start, stop)]


def pieces_within(
    record: Tensor | Blob, start: int, stop: int
) -> Iterator[tuple[ChunkId, int, int]]:
    """Yield the id and byte range of each chunk that holds any of the bytes, in order."""
    found = cuts_of(record)
    at = found.touched(start, stop)
    for number, id_ in enumerate(record.chunks[at], at.start):
        left, right = found.range(number)
        if max(left, start) < min(right, stop):
            yield id_, left, right
