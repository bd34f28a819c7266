"""The one thread that puts payload: a queue of bounded bytes in front of a claimed volume.

Owns the choice of the volume, transactions of about 32 MiB, and the claims that keep gc off a
volume while its newest payload has no index rows yet. Must not know codecs nor records.
"""

import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from theta_store.clock import UNTIMED, Clock
from theta_store.db import VOLUME_BYTES, Meta, Reader, Volume, Volumes, page_bytes
from theta_store.db.volumes import HEADROOM
from theta_store.errors import IntegrityError
from theta_store.forms import NO_VOLUME, Form
from theta_store.ids import ID_BYTES, ChunkId
from theta_store.objects import find_form
from theta_store.settings import next_volume

if TYPE_CHECKING:
    from filelock import FileLock

BATCH_BYTES = 32 << 20


class Payload(msgspec.Struct, frozen=True, gc=False):
    """An encoded chunk on its way to a volume; ``form.volume`` is not set yet.

    A form that has no payload goes the same way, so that its row comes after what it needs.
    """

    id: ChunkId
    form: Form
    data: bytes


class _Barrier(msgspec.Struct):
    """A point in the queue that the flushing thread waits for."""

    reached: threading.Event = msgspec.field(default_factory=threading.Event)


class PayloadWriter:
    """Puts payloads in the order they arrive; rows are handed out once payload is synced."""

    def __init__(
        self,
        meta: Meta,
        volumes: Volumes,
        *,
        volume_bytes: int = VOLUME_BYTES,
        avoid: frozenset[int] = frozenset(),
        queued_bytes: int = 3 * BATCH_BYTES,
        clock: Clock = UNTIMED,
    ) -> None:
        self._meta = meta
        self._volumes = volumes
        self._avoid = avoid
        self._capacity = volume_bytes
        self._clock = clock
        self._queue: queue.SimpleQueue[Sequence[Payload] | _Barrier | None] = queue.SimpleQueue()
        self._most = queued_bytes
        # Half of what may wait is a batch, so that a full queue always has one to write.
        self._batch_most = min(BATCH_BYTES, queued_bytes // 2)
        self._waiting = 0
        self._room = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._claims: list[FileLock] = []
        self._made: set[int] = set()
        self._volume: Volume | None = None
        self._rows: list[tuple[ChunkId, Form]] = []
        self._rows_lock = threading.Lock()
        self._batch: list[Payload] = []
        self._batch_bytes = 0

    def put(self, payloads: Sequence[Payload]) -> None:
        """Queue payloads, waiting while too many bytes wait; an earlier failure is raised here."""
        self._check()
        size = sum(map(_cost, payloads))
        with self._room:
            self._room.wait_for(lambda: self._has_place(size))
            self._waiting += size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="theta-payload", daemon=True)
            self._thread.start()
        self._queue.put(payloads)

    def flush(self) -> list[tuple[ChunkId, Form]]:
        """Wait until all payload is synced; return the rows that the index does not hold yet."""
        if self._thread is not None:
            barrier = _Barrier()
            self._queue.put(barrier)
            barrier.reached.wait()
        self._check()
        with self._rows_lock:
            rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """Stop the thread and give the claims up; what was not flushed is garbage for gc.

        Claims are kept until here, so gc never sees payload whose row is still on its way.
        """
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        for claim in self._claims:
            claim.release()
        self._claims = []
        self._volume = None

    @property
    def pending(self) -> int:
        """Number of rows that wait for a flush."""
        return len(self._rows)

    def _has_place(self, size: int) -> bool:
        few = self._waiting < self._batch_most
        return few or self._waiting + size <= self._most or self._error is not None

    def _leave(self, size: int) -> None:
        with self._room:
            self._waiting -= size
            self._room.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._take(item)
            except BaseException as error:  # noqa: BLE001 - raised again by put and flush
                self._error = error
                self._leave(0)
            if isinstance(item, _Barrier):
                item.reached.set()

    def _take(self, item: Sequence[Payload] | _Barrier) -> None:
        if isinstance(item, _Barrier):
            self._write_batch()
            return
        self._batch += item
        self._batch_bytes += sum(map(_cost, item))
        if self._batch_bytes >= self._batch_most:
            self._write_batch()

    def _write_batch(self) -> None:
        if not self._batch:
            return
        held = [payload for payload in self._batch if payload.form.has_payload]
        number = self._put(held) if held else NO_VOLUME
        rows = [(payload.id, _placed(payload.form, number)) for payload in self._batch]
        with self._rows_lock:
            self._rows += rows
        done, self._batch, self._batch_bytes = self._batch_bytes, [], 0
        self._leave(done)

    def _put(self, batch: Sequence[Payload]) -> int:
        """Put payload into a volume in one transaction; return the volume's number."""
        items = [(payload.id, payload.data) for payload in batch]
        size = sum(len(data) for _, data in items)
        while True:
            volume = self._writable()
            if self._holds_live(volume, batch):
                # Rows of a volume enter only while its claim is held, so what is seen now is all.
                volume = self._volume = self._claim_new()
            try:
                self._clock.run("sync", size, volume.put, items)
            except IntegrityError:
                # Looked for only now: in a full volume it takes seconds. A new one that is damaged
                # tells of a disk on which no other would be better.
                if volume.number in self._made or self._volumes.is_sound(volume.number):
                    raise
                self._avoid |= {volume.number}
                self._volume = None
            else:
                return volume.number

    def _holds_live(self, volume: Volume, batch: Sequence[Payload]) -> bool:
        """Say whether a row points at a payload of this volume that the batch would overwrite."""
        with self._meta.read() as reader:
            return any(_may_lie(reader, payload.id, volume.number) for payload in batch)

    def _writable(self) -> Volume:
        if self._volume is None or not self._has_room(self._volume):
            self._volume = self._claim_existing() or self._claim_new()
        return self._volume

    def _has_room(self, volume: Volume) -> bool:
        return volume.used_bytes + self._batch_bytes + HEADROOM <= self._capacity

    def _claim_existing(self) -> Volume | None:
        for number in self._volumes.numbers():
            claim = None if number in self._avoid else self._volumes.claim(number)
            if claim is None:
                continue
            volume = self._opened(number)
            if volume is not None and self._has_room(volume):
                self._claims.append(claim)
                return volume
            claim.release()
        return None

    def _opened(self, number: int) -> Volume | None:
        try:
            return self._volumes.get(number)
        except IntegrityError:
            # A volume that is cut short must not keep anybody from storing what he has.
            return None

    def _claim_new(self) -> Volume:
        with self._meta.write() as writer:
            number = next_volume(writer)
        volume, claim = self._volumes.create(number)
        self._claims.append(claim)
        self._made.add(number)
        return volume


def _may_lie(reader: Reader, id_: ChunkId, volume: int) -> bool:
    """Say whether a volume may hold the payload of a chunk; a damaged row does not tell."""
    try:
        form = find_form(reader, id_)
    except IntegrityError:
        return True
    return form is not None and form.volume == volume


def _cost(payload: Payload) -> int:
    return page_bytes(ID_BYTES, len(payload.data))


def _placed(form: Form, volume: int) -> Form:
    return msgspec.structs.replace(form, volume=volume) if form.has_payload else form
