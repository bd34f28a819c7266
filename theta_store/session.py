"""One writer of the store: from the first chunk to the publication of a commit.

Owns the lease, the epoch it started under, what is put but not yet in the index, and the last
transaction, in which a commit comes to exist. Must not know files or the workspace.

Order of writes: payload synced in its volume, then index rows, then records, then refs and the
operation. A failure anywhere leaves only garbage.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from theta_store.chunking import split_bytes
from theta_store.clock import UNTIMED, Clock
from theta_store.db import Meta, Reader, Volumes, Writer
from theta_store.errors import Locked, UsageError
from theta_store.expiries import expire, is_expired, revive
from theta_store.forms import Form
from theta_store.graph import missing_below
from theta_store.hints import Hint
from theta_store.ids import BlobId, ChunkId, CommitId, RecordId, TensorId, chunk_id
from theta_store.leases import Lease, drop
from theta_store.objects import (
    Encoded,
    Held,
    are_whole,
    depth_over,
    encoded,
    find_record,
    form_row,
    has_record,
    lacking_forms,
    lacking_records,
    put_form,
    put_records,
)
from theta_store.oplog import Operation, append
from theta_store.payloads import Payload, PayloadWriter
from theta_store.pipeline import Pool
from theta_store.records import Blob, Record, Tensor
from theta_store.refs import move_refs
from theta_store.settings import gc_epoch
from theta_store.sketches import has_entry, put_sketches, sketch_key
from theta_store.tensors import ByteSource, Source, Stored, put_blobs, put_here, put_tensors

if TYPE_CHECKING:
    from theta_store.chunks import Chunks
    from theta_store.derivations import Derivation
    from theta_store.forms import Need
    from theta_store.limits import Limits
    from theta_store.lineage import Lineage
    from theta_store.mending import Mending
    from theta_store.scratch import Scratch

FLUSH_ROWS = 4096
# The bound of every form, hot or cold.
MAX_DEPTH = 8
# What the payload writer holds at most by itself.

Hints = Callable[[str], Sequence[Hint]]


class CollectedMeanwhile(Locked):
    """gc took what this session relied on; nothing was published, a second try stores it."""

    kind = "collected-meanwhile"


class StoredTensor(NamedTuple):
    """A tensor that is in the store; ``checks`` are (CRC-32, length) of its chunks in order."""

    name: str
    id: TensorId
    checks: tuple[tuple[int, int], ...]


def epoch_moved(writer: Writer, since: int) -> bool:
    """Say whether gc has swept since; a test switches this off to prove that it is needed."""
    return gc_epoch(writer) != since


class Session:
    """Puts tensors, blobs and records, and publishes once.

    With ``mending`` what is put is read back where the store has it already, and stored again where
    it is damaged.
    """

    def __init__(
        self,
        meta: Meta,
        volumes: Volumes,
        chunks: "Callable[[], Chunks]",
        pool: Pool,
        lease: Lease,
        epoch: int,
        *,
        capacity: int,
        clock: Clock = UNTIMED,
        mending: "Mending | None" = None,
    ) -> None:
        self._clock = clock
        self._meta = meta
        self._volumes = volumes
        self._chunks = chunks
        self._mending = mending
        self._pool = pool
        self._lease: Lease | None = lease
        self._epoch = epoch
        self._writer = PayloadWriter(
            meta,
            volumes,
            volume_bytes=capacity,
            avoid=frozenset() if mending is None else mending.broken,
            queued_bytes=pool.limits.queued_bytes,
            writers=pool.limits.writers,
            clock=clock,
        )
        self._claimed: set[ChunkId] = set()
        # The rows of chunks that are in the index but not to be read, and the ids of such records.
        self._damaged: dict[ChunkId, bytes] = {}
        self._damaged_records: set[RecordId] = set()
        self._volumes_there: set[int] = set()
        self._records: dict[RecordId, Encoded] = {}
        self._sketches: dict[bytes, bytes] = {}
        self._lock = threading.Lock()
        self._deriving = threading.Lock()
        # Rows that were taken from the writer enter the index before any record of others does.
        self._flushing = threading.Lock()
        self._pid = os.getpid()
        self.stored_bytes = 0

    @property
    def limits(self) -> "Limits":
        """The threads and the memory that this session uses."""
        return self._pool.limits

    def claim(self, ids: Sequence[ChunkId]) -> list[bool]:
        """Say of each chunk whether the caller has to store it."""
        self._check_process()
        with self._lock:
            fresh = list(dict.fromkeys(id_ for id_ in ids if id_ not in self._claimed))
            self._claimed.update(fresh)
        missing = self._clock.run("records", 0, self._missing, fresh)
        wanted = []
        for id_ in ids:
            wanted.append(id_ in missing)
            # A chunk that is named twice is stored once.
            missing.discard(id_)
        return wanted

    def _missing(self, ids: Sequence[ChunkId]) -> set[ChunkId]:
        if not ids:
            return set()
        missing, rows = self._not_whole(ids)
        if self._mending is not None:
            damaged = self._mending.damaged([id_ for id_ in ids if id_ not in missing])
            missing |= damaged
            self._mending.note_clusters(list(missing))
            with self._meta.read() as reader:
                rows |= _rows(reader, damaged)
        self._damaged |= rows
        return missing

    def _not_whole(self, ids: Sequence[ChunkId]) -> tuple[set[ChunkId], dict[ChunkId, bytes]]:
        """Return the chunks that are not whole, and the rows of those that the index has.

        gc moves chunks to another volume, commits their rows, and unlinks the old one. So that a
        row's volume is gone counts only where nothing was committed since the row was read.
        """
        missing: set[ChunkId] = set()
        rows: dict[ChunkId, bytes] = {}
        asked, number = ids, -1
        while True:
            with self._meta.read() as reader:
                if reader.number == number:
                    return missing, rows
                number = reader.number
                new = lacking_forms(reader, asked)
                known = [id_ for id_ in asked if id_ not in new]
                found = are_whole(reader, known, self._holds)
                lost = {id_ for id_, there in zip(known, found, strict=True) if not there}
                missing = missing.difference(asked) | new | lost
                rows = _rows(reader, lost)
            if not rows:
                return missing, rows
            asked = list(rows)

    def _holds(self, number: int) -> bool:
        """Say whether a volume is there, and its pages are sound as far as anybody looked."""
        if number not in self._volumes_there:
            is_broken = self._mending is not None and number in self._mending.broken
            if is_broken or not self._volumes.has(number):
                return False
            self._volumes_there.add(number)
        return True

    def mends(self, id_: ChunkId) -> bool:
        """Say of a chunk that was claimed whether it takes the place of one that is damaged."""
        return id_ in self._damaged

    @property
    def mended(self) -> int:
        """The number of chunks and records that were stored again since they were damaged."""
        return len(self._damaged) + len(self._damaged_records)

    def put(self, payloads: Sequence[Payload]) -> None:
        """Queue payloads for their volume, waiting while too many bytes are on their way there."""
        size = sum(len(payload.data) for payload in payloads)
        with self._lock:
            self.stored_bytes += size
        self._clock.run("put", size, self._writer.put, payloads)

    def put_tensors(
        self, items: Iterable[tuple[str, Source]], *, crc: bool = False, hints: Hints | None = None
    ) -> Iterator[StoredTensor]:
        """Store tensors in parallel; yield name, id and checks in the order given.

        ``hints`` says of each name where the tensor may have come from.
        """

        # Sketches bring numpy; a session that stores no tensor does without it.
        from theta_store.sketch import Sampler

        made = put_tensors(
            items,
            self,
            self._pool,
            crc=crc,
            descent=None if hints is None else _Hinted(self, hints),
            chunks=self._chunks(),
            sample=Sampler.of,
            clock=self._clock,
        )
        for batch in made:
            ids = self.put_records([stored.record for stored in batch])
            self._put_sketches(zip(batch, ids, strict=True))
            for stored, id_ in zip(batch, ids, strict=True):
                yield StoredTensor(stored.name, TensorId(id_), stored.checks)
            self._relieve()

    def _put_sketches(self, made: Iterable[tuple[Stored, RecordId]]) -> None:
        keyed = {
            sketch_key(stored.record.dtype, stored.record.shape, TensorId(id_)): stored.sketch
            for stored, id_ in made
            if stored.sketch is not None and isinstance(stored.record, Tensor)
        }
        if keyed:
            with self._meta.read() as reader:
                self._sketches |= {k: s for k, s in keyed.items() if not has_entry(reader, k)}

    def derivations(self, source: Source, hints: "Sequence[Hint]") -> "Sequence[Derivation]":
        """Return what a tensor may follow from."""
        # One at a time: what is looked for may take a matrix in memory.
        with self._deriving:
            return self._clock.run("predict", 0, self._lineage.of_source, source, hints)

    def bases(
        self, tensors: "Sequence[tuple[Source, Sequence[Hint]]]"
    ) -> "Sequence[Sequence[Need] | None]":
        """Return the bases of small tensors, looked up together; None: ask for `derivations`."""
        return self._clock.run("predict", 0, self._bases, tensors)

    def _bases(
        self, tensors: "Sequence[tuple[Source, Sequence[Hint]]]"
    ) -> "Sequence[Sequence[Need] | None]":
        with self._meta.read() as reader:
            return [self._lineage.bases(reader, source, hints) for source, hints in tensors]

    @cached_property
    def _lineage(self) -> "Lineage":
        from theta_store.lineage import Lineage

        return Lineage(
            self._chunks(), self._own_scratch, self.find_tensor, self.keep, self._meta.read
        )

    def _own_scratch(self) -> "Scratch":
        """Return scratch that is not the chunk's in whose course something is looked for."""
        from theta_store.scratch import Scratch

        return self._pool.scratch().tool("lineage", Scratch)

    def keep(self, source: Source) -> TensorId:
        """Store a small tensor so that forms can need it, and readers find it, at once.

        May be called from any thread; no other record enters the store with it.
        """
        made = encoded(put_here(source, self, self._own_scratch(), self._clock))
        with self._flushing:
            rows = self._clock.run("put", 0, self._writer.flush)
            with self._meta.write() as writer:
                _enter_rows(writer, rows, self._holds, self._damaged)
                put_records(writer, [made])
        return TensorId(made.id)

    def put_blobs(self, items: Iterable[tuple[str, ByteSource]]) -> Iterator[tuple[str, BlobId]]:
        """Store blobs in parallel; yield name and id in the order given."""
        for batch in put_blobs(items, self, self._pool, clock=self._clock):
            ids = self.put_records([stored.record for stored in batch])
            for stored, id_ in zip(batch, ids, strict=True):
                yield stored.name, BlobId(id_)
            self._relieve()

    def put_bytes(self, data: bytes) -> BlobId:
        """Store one small blob at once, on this thread."""
        from theta_store.packing import pack_alone

        view = memoryview(data)
        chunks = []
        for start, stop in split_bytes(len(data)):
            id_ = chunk_id(view[start:stop])
            if self.claim([id_])[0]:
                scratch = self._pool.scratch()
                self.put([pack_alone(id_, view[start:stop], dtype=None, scratch=scratch)])
            chunks.append(id_)
        return BlobId(self.put_record(Blob(len(data), tuple(chunks))))

    def put_record(self, record: Record) -> RecordId:
        """Store a record whose children are stored."""
        (id_,) = self.put_records([record])
        return id_

    def put_records(self, records: Sequence[Record]) -> list[RecordId]:
        """Store records whose children are stored; they are looked up together."""
        return self._clock.run("records", 0, self._enter_records, records)

    def _enter_records(self, records: Sequence[Record]) -> list[RecordId]:
        made = [encoded(record) for record in records]
        fresh = [one for one in made if one.id not in self._records]
        if fresh:
            with self._meta.read() as reader:
                ids = {one.id for one in fresh}
                new = lacking_records(reader, ids)
                if self._mending is not None:
                    new |= self._damaged_among(reader, ids - new, self._mending)
            self._records |= {one.id: one for one in fresh if one.id in new}
        return [one.id for one in made]

    def _damaged_among(
        self, reader: Reader, ids: Iterable[RecordId], mending: "Mending"
    ) -> set[RecordId]:
        """Return those of some records that are damaged, and were not put again yet."""
        found = {
            id_
            for id_ in ids
            if id_ not in self._damaged_records and mending.is_damaged(reader, id_)
        }
        self._damaged_records |= found
        return found

    def flush(self) -> None:
        """Make everything put so far durable and known; it is reachable only once published."""
        self._check_process()
        with self._flushing:
            rows = self._clock.run("put", 0, self._writer.flush)
            self._clock.run("records", 0, self._flush_records, rows)

    def mend(self) -> None:
        """Flush what takes the place of damaged chunks, and put their clusters together again."""
        if not self.mended:
            return
        self.flush()
        if self._mending is None:
            return
        for payload in self._mending.clusters():
            with self._meta.read() as reader:
                row = form_row(reader, payload.id)
            if row is not None:
                self._damaged[payload.id] = row
            self.put([payload])
        self.flush()

    def _flush_records(self, rows: list[tuple[ChunkId, Form]]) -> None:
        if rows or self._records or self._sketches:
            with self._meta.write() as writer:
                self._enter(writer, rows)
            self._records.clear()
            self._sketches.clear()

    def publish(
        self,
        operation: Operation,
        *,
        commits: Iterable[CommitId] = (),
        log: Callable[[Writer, Operation], Operation] = append,
    ) -> Operation:
        """Move refs, set expiries and log it, in one transaction; the session is over then.

        ``commits`` are new to the store. `RefMoved` when a ref is not where the operation says,
        `CollectedMeanwhile` when gc took what they refer to; nothing is changed then.
        """
        self._check_process()
        return self._clock.run("publish", 0, self._publish, operation, commits, log)

    def _publish(
        self,
        operation: Operation,
        commits: Iterable[CommitId],
        log: Callable[[Writer, Operation], Operation],
    ) -> Operation:
        self.mend()
        self._relieve()
        rows = self._clock.run("put", 0, self._writer.flush)
        with self._meta.write() as writer:
            self._enter(writer, rows)
            if epoch_moved(writer, self._epoch) and _holes(writer, operation, commits):
                raise CollectedMeanwhile(
                    "gc collected chunks that this commit shares; nothing was published",
                    hint="run the command again",
                )
            move_refs(writer, operation.changes)
            expire(writer, operation.expired)
            revive(writer, operation.revived)
            logged = log(writer, operation)
            if self._lease is not None:
                drop(writer, self._lease)
        self._records.clear()
        self._sketches.clear()
        self.close()
        return logged

    def close(self) -> None:
        """End the session; what was not published is garbage for gc."""
        if self._pid != os.getpid():
            return
        try:
            self._writer.close()
        finally:
            if self._lease is not None:
                self._lease.release()
                self._lease = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        lease = self._lease
        self.close()
        if lease is not None and kind is None and self._pid == os.getpid():
            with self._meta.write() as writer:
                drop(writer, lease)

    def _check_process(self) -> None:
        """Refuse a forked child: thread, claims and lease are those of the process before."""
        if self._pid != os.getpid():
            raise UsageError(
                "a session that was begun before a fork goes on in the process that began it",
                hint="begin another one: store.session()",
            )

    def _relieve(self) -> None:
        if self._writer.pending > FLUSH_ROWS or len(self._records) > FLUSH_ROWS:
            self.flush()

    def _enter(self, writer: Writer, rows: list[tuple[ChunkId, Form]]) -> None:
        put_records(writer, self._records.values(), damaged=self._damaged_records)
        put_sketches(writer, self._sketches)
        _enter_rows(writer, rows, self._holds, self._damaged)

    def find_tensor(self, id_: TensorId) -> Tensor | None:
        """Return a stored tensor's record, or None."""
        with self._meta.read(remember=True) as reader:
            record = find_record(reader, id_)
        return record if isinstance(record, Tensor) else None


class _Hinted(msgspec.Struct, frozen=True):
    """What hints say of the tensors of one call."""

    session: Session
    hints: Hints

    def derivations(self, name: str, source: Source) -> "Sequence[Derivation]":
        """Return what a tensor may follow from."""
        return self.session.derivations(source, self.hints(name))

    def bases(self, tensors: Sequence[tuple[str, Source]]) -> "Sequence[Sequence[Need] | None]":
        """Return the bases of small tensors; None: ask for `derivations`."""
        return self.session.bases([(source, self.hints(name)) for name, source in tensors])


def _rows(reader: Reader, ids: Iterable[ChunkId]) -> dict[ChunkId, bytes]:
    return {id_: row for id_ in ids if (row := form_row(reader, id_)) is not None}


def _holes(writer: Writer, operation: Operation, commits: Iterable[CommitId]) -> set[bytes]:
    """Return what is missing below new commits, and below those that refs are moved to."""
    targets = {
        CommitId(RecordId(change.new))
        for change in operation.changes
        if isinstance(change.new, bytes)
    }
    given_up = {id_ for id_ in targets if is_expired(writer, id_)}
    gone: set[bytes] = {id_ for id_ in given_up if not has_record(writer, id_)}
    return gone | missing_below(writer, {*commits, *targets} - given_up)


def _enter_rows(
    writer: Writer,
    rows: Sequence[tuple[ChunkId, Form]],
    held: Held,
    damaged: Mapping[ChunkId, bytes],
) -> None:
    # Many chunks need the same cluster.
    depths: dict[ChunkId, int] = {}
    new = lacking_forms(writer, [id_ for id_, _ in rows])
    # In their order: what a form needs comes before it.
    for id_, form in rows:
        # What somebody else has mended meanwhile has another row by now.
        is_damaged = id_ in damaged and form_row(writer, id_) == damaged[id_]
        if id_ in new or is_damaged or not are_whole(writer, [id_], held)[0]:
            put_form(writer, id_, _settled(writer, form, depths))
            depths.pop(id_, None)
            new.discard(id_)


def _settled(writer: Writer, form: Form, depths: dict[ChunkId, int]) -> Form:
    """Return a form as of this transaction: born now, deeper than what it needs is by now."""
    depth = depth_over(writer, form.needs, depths)
    if depth is None or depth > MAX_DEPTH:
        raise CollectedMeanwhile(
            "gc or repack changed chunks that this commit builds on; nothing was published",
            hint="run the command again",
        )
    return msgspec.structs.replace(form, depth=depth, born=writer.number)
