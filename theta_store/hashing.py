"""Ids without storing: what a session would have put, kept in memory.

Owns the dry twin of a session, for ``status`` and for comparing files that no commit holds. Must
not write anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from theta_store.chunking import split_bytes
from theta_store.errors import MissingObject
from theta_store.ids import BlobId, ChunkId, RecordId, TensorId, chunk_id, short
from theta_store.objects import encoded
from theta_store.pipeline import Pool
from theta_store.records import Blob, Record

if TYPE_CHECKING:
    from theta_store.payloads import Payload
    from theta_store.session import Hints, StoredTensor
    from theta_store.tensors import ByteSource, Source


class Putter(Protocol):
    """What turns plain bytes and records into ids: a session, or its dry twin."""

    def put_tensors(
        self,
        items: "Iterable[tuple[str, Source]]",
        *,
        crc: bool = False,
        hints: "Hints | None" = None,
    ) -> "Iterator[StoredTensor]":
        """Yield name, id and checks of each tensor, in order."""

    def put_blobs(self, items: "Iterable[tuple[str, ByteSource]]") -> Iterator[tuple[str, BlobId]]:
        """Yield name and id of each blob, in order."""

    def put_bytes(self, data: bytes) -> BlobId:
        """Return the id of a small blob."""

    def put_record(self, record: Record) -> RecordId:
        """Return the id of a record."""

    def put_records(self, records: Sequence[Record]) -> Sequence[RecordId]:
        """Return the ids of records."""

    def flush(self) -> None:
        """Make what was put readable in the store, if anything is stored at all."""


class Hashing:
    """Computes ids; records can be read back, those it has not seen come from the store."""

    def __init__(self, pool: Pool, stored: Callable[[RecordId], Record]) -> None:
        self._pool = pool
        self._stored = stored
        self._records: dict[RecordId, Record] = {}

    @classmethod
    def alone(cls) -> "Hashing":
        """Return one that knows no store: for files outside a repository."""

        def nothing(id_: RecordId) -> Record:
            raise MissingObject(f"record {short(id_)} is not here")

        return cls(Pool(), nothing)

    def claim(self, ids: Sequence[ChunkId]) -> list[bool]:
        """Say that no chunk is to be stored."""
        return [False] * len(ids)

    def mends(self, id_: ChunkId) -> bool:  # noqa: ARG002 - nothing is stored
        """Say that nothing is mended."""
        return False

    def put(self, payloads: "Sequence[Payload]") -> None:
        """Refuse: nothing is ever claimed here."""
        raise AssertionError(f"{payloads[0].id.hex()} was not claimed")

    def put_tensors(
        self,
        items: "Iterable[tuple[str, Source]]",
        *,
        crc: bool = False,
        hints: "Hints | None" = None,  # noqa: ARG002 - nothing is stored, so nothing is derived
    ) -> "Iterator[StoredTensor]":
        """Hash tensors in parallel; yield name, id and checks in the order given."""
        # A ``status`` in which no file changed hashes nothing, and does without the pipeline.
        from theta_store.session import StoredTensor
        from theta_store.tensors import put_tensors

        for batch in put_tensors(items, self, self._pool, crc=crc):
            for done in batch:
                yield StoredTensor(done.name, TensorId(self.put_record(done.record)), done.checks)

    def put_blobs(self, items: "Iterable[tuple[str, ByteSource]]") -> Iterator[tuple[str, BlobId]]:
        """Hash blobs in parallel; yield name and id in the order given."""
        from theta_store.tensors import put_blobs

        for batch in put_blobs(items, self, self._pool):
            for done in batch:
                yield done.name, BlobId(self.put_record(done.record))

    def put_bytes(self, data: bytes) -> BlobId:
        """Return the id of a small blob."""
        view = memoryview(data)
        chunks = tuple(chunk_id(view[start:stop]) for start, stop in split_bytes(len(data)))
        return BlobId(self.put_record(Blob(len(data), chunks)))

    def put_record(self, record: Record) -> RecordId:
        """Keep a record in memory and return its id."""
        id_ = encoded(record).id
        self._records[id_] = record
        return id_

    def put_records(self, records: Sequence[Record]) -> list[RecordId]:
        """Keep records in memory and return their ids."""
        return [self.put_record(record) for record in records]

    def flush(self) -> None:
        """Do nothing: nothing is stored."""

    def record(self, id_: RecordId) -> Record:
        """Return a record hashed here, or the store's."""
        record = self._records.get(id_)
        return self._stored(id_) if record is None else record
