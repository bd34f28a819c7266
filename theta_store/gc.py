"""Garbage collection: mark, sweep, and give volumes back to the disk.

Owns what is a root, the sweep that ends with a new epoch, and the choice between unlinking a
volume, copying its live chunks elsewhere, and deleting in place. Must not know the workspace.

What is younger than the oldest live lease is left alone. A sweep is one transaction of ``meta``;
it walks the roots again inside, so a commit published a moment ago is never swept.
"""

import time
from collections import defaultdict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

from theta_store import expiries, leases, oplog
from theta_store.db import Meta, Reader, Volumes, Writer, free_bytes, page_bytes
from theta_store.db.volumes import VOLUME_BYTES
from theta_store.errors import IntegrityError, Locked
from theta_store.forms import Form
from theta_store.graph import Reached, bases_in, reach, reach_chunks, reach_needs
from theta_store.ids import ID_BYTES, ChunkId, CommitId, RecordId
from theta_store.objects import (
    delete_form,
    delete_record,
    find_form,
    forms,
    has_record,
    put_form,
    record_births,
)
from theta_store.payloads import Payload, PayloadWriter
from theta_store.refs import HEAD, read_ref, read_refs
from theta_store.settings import advance_epoch
from theta_store.sketches import drop_stale

COMPACT_SHARE = 0.2
COMPACT_BYTES = 1 << 20


@dataclass(frozen=True)
class GcReport:
    """What a collection removed, or would; bytes are bytes of files in the store's folder.

    ``base_bytes`` are payload that stays though nobody reads it any more: what is still read is
    stored as differences to it. ``idle_bytes`` of volumes hold nothing and are filled by the next
    commits, as the disk has less than the ``room_bytes`` that it takes to copy what is alive.
    """

    records: int = 0
    chunks: int = 0
    stored_bytes: int = 0
    disk_bytes: int = 0
    base_bytes: int = 0
    idle_bytes: int = 0
    room_bytes: int = 0


@dataclass(frozen=True)
class _Garbage:
    records: list[RecordId]
    chunks: list[tuple[ChunkId, Form]]
    base_bytes: int


@dataclass(frozen=True)
class _Fate:
    """What becomes of a volume: live payload, dead keys, and the bytes the disk gets back.

    Idle bytes would go with a copy, for which the disk lacks the room.
    """

    number: int
    live: list[tuple[ChunkId, Form]]
    dead: list[bytes]
    action: str
    disk_bytes: int
    idle_bytes: int = 0
    room_bytes: int = 0


@dataclass(frozen=True)
class Collector:
    """gc of one store; ``undo_seconds`` of the operation log are roots."""

    meta: Meta
    volumes: Volumes
    lease_folder: Path
    lock_path: Path
    undo_seconds: float
    capacity: int = field(default=VOLUME_BYTES)

    def forecast(self, *, expired: AbstractSet[CommitId] = frozenset()) -> GcReport:
        """Return what `collect` would do now, changing nothing.

        ``expired`` are commits whose files would be given up first.
        """
        with self.meta.read() as reader:
            horizon = self._horizon(reader, reader.number + 1)
            garbage = _garbage(reader, self._mark(reader, horizon, expired), horizon)
            fates = self._fates(reader, {id_ for id_, _ in garbage.chunks})
        return _report(garbage, fates)

    def collect(self) -> GcReport:
        """Remove what nothing reaches; only one process collects at a time."""
        lock = leases.lock_file(self.lock_path)
        try:
            lock.acquire(blocking=False)
        except TimeoutError:  # filelock's Timeout is one
            raise Locked("another gc is running; nothing was removed", hint="retry") from None
        try:
            garbage = self._sweep()
            freed, fates = self._reclaim()
        finally:
            lock.release()
        return replace(_report(garbage, fates), disk_bytes=freed)

    def reachable(self, reader: Reader) -> Reached:
        """Return all that a collection would leave."""
        return self._mark(reader, self._horizon(reader, reader.number + 1))

    def _horizon(self, reader: Reader, now: int) -> int:
        return min([now, *(row.since for row in leases.live(reader, self.lease_folder))])

    def _mark(
        self, reader: Reader, horizon: int, also: AbstractSet[CommitId] = frozenset()
    ) -> Reached:
        given_up = expiries.expired(reader) | also
        reached = reach(reader, self._roots(reader), expired=given_up)
        if reached.missing:
            raise IntegrityError(
                f"{len(reached.missing)} objects are missing; nothing was removed",
                hint="theta fsck",
            )
        young = [id_ for id_, born, _ in record_births(reader) if born >= horizon]
        reach(reader, young, expired=given_up, into=reached)
        # A running session's forms may need chunks that no record reaches yet; nor are these named.
        fresh = [id_ for id_, form in forms(reader) if form.born >= horizon]
        reached.named.update(fresh)
        reach_chunks(reader, fresh, reached)
        return reached

    def _roots(self, reader: Reader) -> set[RecordId]:
        roots: set[RecordId] = set(read_refs(reader, "refs/").values())
        head = read_ref(reader, HEAD)
        if isinstance(head, bytes):
            roots.add(head)
        for row in leases.live(reader, self.lease_folder):
            roots.update(row.roots)
        return roots | _logged(reader, self.undo_seconds)

    def _sweep(self) -> _Garbage:
        with self.meta.read() as reader:
            horizon = self._horizon(reader, reader.number + 1)
            given_up = expiries.expired(reader)
            reached = self._mark(reader, horizon)
        with self.meta.write() as writer:
            leases.drop_dead(writer, self.lease_folder)
            if expiries.expired(writer) != given_up:
                reached = self._mark(writer, horizon)
            else:
                young = {id_ for id_, born, _ in record_births(writer) if born >= horizon}
                reach(writer, self._roots(writer) | young, expired=given_up, into=reached)
            reach_needs(writer, reached, horizon)
            garbage = _garbage(writer, reached, horizon)
            _delete(writer, garbage)
        return garbage

    def _reclaim(self) -> tuple[int, list[_Fate]]:
        """Carry all fates out; return the bytes that the disk got back, and what the fates were."""
        with self.meta.read() as reader:
            fates = self._fates(reader, set())
        old = frozenset(self.volumes.numbers())
        settled = [self._settle(fate, old) for fate in fates]
        return sum(freed for freed, _ in settled), [fate for _, fate in settled]

    def _fates(self, reader: Reader, doomed: set[ChunkId]) -> list[_Fate]:
        live: dict[int, list[tuple[ChunkId, Form]]] = defaultdict(list)
        for id_, form in forms(reader):
            if id_ not in doomed:
                live[form.volume].append((id_, form))
        return [self._fate(n, live[n]) for n in self.volumes.numbers()]

    def _fate(self, number: int, live: list[tuple[ChunkId, Form]]) -> _Fate:
        size = self.volumes.file_bytes(number)
        if not live:
            # Not even opened: it may be damaged, and what it held is stored again elsewhere.
            return _Fate(number, live, [], "unlink", size)
        if not self.volumes.is_sound(number):
            # LMDB trusts its pages: walking damaged ones could kill the process.
            return _Fate(number, live, [], "keep", 0)
        volume = self.volumes.get(number)
        alive = {id_ for id_, _ in live}
        dead = [key for key in volume.keys() if key not in alive]  # noqa: SIM118
        needed = sum(page_bytes(ID_BYTES, form.stored) for _, form in live)
        worth = size - needed >= max(COMPACT_SHARE * size, COMPACT_BYTES)
        room = needed * 11 // 10
        if worth and free_bytes(volume.folder) > room:
            return _Fate(volume.number, live, dead, "copy", size - needed)
        # What a killed process wrote and did not commit.
        tail = size - volume.used_bytes
        cut = tail if tail >= COMPACT_BYTES else 0
        action = "delete" if dead else "cut" if cut else "keep"
        idle = max(size - needed - cut, 0) if worth else 0
        return _Fate(number, live, dead, action, cut, idle, room if idle else 0)

    def _settle(self, fate: _Fate, old: frozenset[int]) -> tuple[int, _Fate]:
        """Carry a fate out; a volume that another process writes to is left for next time."""
        claim = None if fate.action == "keep" else self.volumes.claim(fate.number)
        if claim is None:
            return 0, fate
        try:
            with self.meta.read() as reader:
                live = [(id_, form) for id_, form in forms(reader) if form.volume == fate.number]
            fate = self._fate(fate.number, live)
            return self._carry_out(fate, old), fate
        finally:
            claim.release()

    def _carry_out(self, fate: _Fate, old: frozenset[int]) -> int:
        if fate.action == "keep":
            return 0
        before = self._volume_bytes()
        if fate.action in {"delete", "cut"}:
            volume = self.volumes.get(fate.number)
            if fate.dead:
                volume.delete(fate.dead)
            volume.cut_off()
            return max(before - self._volume_bytes(), 0)
        if fate.action == "copy":
            self._copy(fate, old)
        self.volumes.unlink(fate.number)
        return before - self._volume_bytes()

    def _copy(self, fate: _Fate, old: frozenset[int]) -> None:
        source = self.volumes.get(fate.number)
        writer = PayloadWriter(
            self.meta,
            self.volumes,
            volume_bytes=self.capacity,
            avoid=old,
        )
        try:
            before = dict(fate.live)
            for id_, form in fate.live:
                with source.payload(id_) as data:
                    if data is not None:
                        writer.put([Payload(id_, form, bytes(data))])
            rows = writer.flush()
            with self.meta.write() as transaction:
                for id_, form in rows:
                    if find_form(transaction, id_) == before[id_]:
                        put_form(transaction, id_, form)
        finally:
            writer.close()

    def _volume_bytes(self) -> int:
        return sum(self.volumes.file_bytes(number) for number in self.volumes.numbers())


def _logged(reader: Reader, undo_seconds: float) -> set[RecordId]:
    oldest = (time.time() - undo_seconds) * 1e6
    found: set[RecordId] = set()
    for operation in oplog.operations(reader):
        if operation.time < oldest:
            break
        if operation.saved is not None and has_record(reader, operation.saved):
            found.add(operation.saved)
        for change in operation.changes:
            ids = [RecordId(id_) for id_ in (change.old, change.new) if isinstance(id_, bytes)]
            # What an earlier ``gc --now`` took stays named in the log.
            found.update(id_ for id_ in ids if has_record(reader, id_))
    return found


def _garbage(reader: Reader, reached: Reached, horizon: int) -> _Garbage:
    records = [
        id_
        for id_, born, _ in record_births(reader)
        if born < horizon and id_ not in reached.records and id_ not in reached.kept
    ]
    chunks = [
        (id_, form)
        for id_, form in forms(reader)
        if form.born < horizon and id_ not in reached.chunks
    ]
    return _Garbage(
        records, chunks, sum(form.stored for form in bases_in(reader, reached).values())
    )


def _delete(writer: Writer, garbage: _Garbage) -> None:
    if not garbage.records and not garbage.chunks:
        return
    advance_epoch(writer)
    for chunk, form in garbage.chunks:
        delete_form(writer, chunk, form)
    for id_ in garbage.records:
        delete_record(writer, id_)
    drop_stale(writer)


def _report(garbage: _Garbage, fates: list[_Fate]) -> GcReport:
    return GcReport(
        records=len(garbage.records),
        chunks=len(garbage.chunks),
        stored_bytes=sum(form.stored for _, form in garbage.chunks),
        disk_bytes=sum(fate.disk_bytes for fate in fates),
        base_bytes=garbage.base_bytes,
        idle_bytes=sum(fate.idle_bytes for fate in fates),
        # With the smallest one gc can begin: what it gives back is room for the next.
        room_bytes=min((fate.room_bytes for fate in fates if fate.idle_bytes), default=0),
    )
