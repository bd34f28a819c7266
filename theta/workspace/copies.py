"""Chunks as they lie in files of the workspace: read there, they need not be decoded.

Owns where in which file a chunk lies. Must not vouch for any byte: a file may be changed meanwhile,
so whoever reads here verifies the hash, as for everything that is read.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from theta.formats.layout import Span, decode_layout
from theta.formats.reading import FileReader
from theta.params import flatten
from theta_store.errors import ThetaError
from theta_store.ids import CheckpointId, ChunkId
from theta_store.records import File, Tensor, TreeEntry
from theta_store.store import Store, ranges_of

# Smaller chunks are as quickly decoded as found in a file.
LEAST_BYTES = 1 << 16


class Copies:
    """Which chunks lie where; a context, at whose end the files are closed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[ChunkId, tuple[FileReader, int, int]] = {}
        self._files = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def is_empty(self) -> bool:
        """Whether no chunk lies anywhere."""
        return not self._places

    def add(self, path: Path, entry: TreeEntry, file: File) -> None:
        """Add a file on disk that was one of a model's files when it was last looked at."""
        places = list(_places(self._store, entry, file))
        if places:
            reader = self._files.enter_context(FileReader(path))
            self._places |= {id_: (reader, start, stop) for id_, start, stop in places}

    def fill(self, id_: ChunkId, out: memoryview) -> bool:
        """Fill ``out`` with what was that chunk when the file was last looked at, if it lies here.

        May be called from any thread.
        """
        found = self._places.get(id_)
        if found is None or found[2] - found[1] != len(out):
            return False
        try:
            found[0].read_into(found[1], out)
        except (ThetaError, OSError):
            return False
        return True


def _places(store: Store, entry: TreeEntry, file: File) -> Iterator[tuple[ChunkId, int, int]]:
    """Yield the chunks that lie in one piece in a file, and where."""
    placed = decode_layout(store.read_bytes(file.layout)).placed()
    large = [
        (offset, segment)
        for offset, segment in placed
        if isinstance(segment, Span) and segment.plain and segment.size >= LEAST_BYTES
    ]
    if not large:
        return
    leaves = dict(flatten(store, store.checkpoint(CheckpointId(entry.id)).params))
    records = store.tensors(leaves[segment.name] for _, segment in large)
    for (offset, segment), record in zip(large, records, strict=True):
        for id_, start, stop in _chunks(record):
            if segment.start <= start and stop <= segment.stop and stop - start >= LEAST_BYTES:
                at = offset + start - segment.start
                yield id_, at, at + stop - start


def _chunks(record: Tensor) -> Iterable[tuple[ChunkId, int, int]]:
    ranges = ranges_of(record)
    return ((id_, *range_) for id_, range_ in zip(record.chunks, ranges, strict=True))
