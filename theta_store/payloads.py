"""The threads that put payload: batches of bounded bytes, each into a claimed volume.

Owns the batches, transactions of about 32 MiB, and the order in which rows are handed out. Must not
know codecs nor records.
"""

import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from theta_store.claims import Claims
from theta_store.clock import UNTIMED, Clock
from theta_store.db import VOLUME_BYTES, Meta, Volume, Volumes, page_bytes
from theta_store.errors import IntegrityError, ResourceError, UsageError
from theta_store.forms import NO_VOLUME, Form
from theta_store.ids import ID_BYTES, ChunkId

BATCH_BYTES = 32 << 20

Rows = list[tuple[ChunkId, Form]]


class Payload(msgspec.Struct, frozen=True, gc=False):
    """An encoded chunk on its way to a volume; ``form.volume`` is not set yet.

    A form that has no payload goes the same way, so that its row comes after what it needs.
    """

    id: ChunkId
    form: Form
    data: bytes


class _Batch(msgspec.Struct):
    """What goes into one transaction of one volume; batches are numbered as they are filled."""

    number: int
    payloads: list[Payload] = []
    size: int = 0

    def placed(self, volume: int) -> Rows:
        """Return the rows of what was put into a volume."""
        return [(payload.id, _placed(payload.form, volume)) for payload in self.payloads]


class PayloadWriter:
    """Puts payloads; their rows are handed out once payload is synced, in the order of arrival.

    While one transaction waits for the disk another is filled, in a volume of its own: of the
    ``writers``, the second starts when a batch finds the first one busy.
    """

    def __init__(
        self,
        meta: Meta,
        volumes: Volumes,
        *,
        volume_bytes: int = VOLUME_BYTES,
        avoid: frozenset[int] = frozenset(),
        queued_bytes: int = 3 * BATCH_BYTES,
        writers: int = 1,
        clock: Clock = UNTIMED,
    ) -> None:
        self._claims = Claims(meta, volumes, capacity=volume_bytes, avoid=avoid)
        self._clock = clock
        self._most = queued_bytes
        # LMDB has a copy of what it writes: no more than half of what may wait is in transactions,
        # and there always is a batch to write when no more may wait.
        self._batch_most = max(min(BATCH_BYTES, queued_bytes // (2 * writers)), 1)
        self._writers = writers
        self._threads: list[threading.Thread] = []
        self._closing = False
        # Of all that follows; told whenever any of it changes.
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._waiting = 0
        self._open = _Batch(0)
        self._full: deque[_Batch] = deque()
        # Batches that were handed over and are not synced.
        self._outstanding = 0
        # Batches whose turn has not come: one before them is not synced yet.
        self._synced: dict[int, Rows] = {}
        self._next = 0
        self._rows: Rows = []

    def put(self, payloads: Sequence[Payload]) -> None:
        """Queue payloads, waiting while too many bytes wait; an earlier failure is raised here."""
        size = sum(map(_cost, payloads))
        with self._changed:
            self._changed.wait_for(lambda: self._is_over() or self._has_place(size))
            self._check()
            self._waiting += size
            self._open.payloads += payloads
            self._open.size += size
            if self._open.size >= self._batch_most:
                self._hand_over()

    def flush(self) -> Rows:
        """Wait until all payload is synced; return the rows that the index does not hold yet."""
        with self._changed:
            if self._open.payloads:
                self._hand_over()
            end = self._open.number
            self._changed.wait_for(lambda: self._is_over() or self._next >= end)
            self._check()
            rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """Stop the threads and give the claims up; what was not flushed is garbage for gc.

        Who still waits for room is refused, as whoever comes later is.
        """
        with self._changed:
            self._closing = True
            self._full.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._claims.release()

    @property
    def pending(self) -> int:
        """Number of rows that wait for a flush."""
        return len(self._rows)

    def _has_place(self, size: int) -> bool:
        return self._waiting < self._batch_most or self._waiting + size <= self._most

    def _is_over(self) -> bool:
        return self._closing or self._error is not None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closing:
            raise UsageError("this session is over; nothing more is stored")

    def _hand_over(self) -> None:
        """Give the open batch to a thread that has nothing to do, or to a new one."""
        self._full.append(self._open)
        self._outstanding += 1
        self._open = _Batch(self._open.number + 1)
        if len(self._threads) < min(self._outstanding, self._writers):
            self._begin()
        self._changed.notify_all()

    def _begin(self) -> None:
        """Start one more thread; where the system has none to give, one is enough."""
        thread = threading.Thread(target=self._run, name="theta-payload", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                self._error = ResourceError(f"no thread could be started: {error}")
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        volume: Volume | None = None
        while (batch := self._taken()) is not None:
            try:
                volume = self._write(batch, volume)
            except BaseException as error:  # noqa: BLE001 - raised again by put and flush
                with self._changed:
                    self._error = self._error or error
                    self._changed.notify_all()
                return

    def _taken(self) -> _Batch | None:
        """Return the next batch, waiting for one; None: there is nothing left to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._full or self._is_over())
            return None if self._is_over() else self._full.popleft()

    def _write(self, batch: _Batch, volume: Volume | None) -> Volume | None:
        """Put a batch, preferably into that volume; return the one that it went into."""
        held = [payload for payload in batch.payloads if payload.form.has_payload]
        if held:
            volume = self._put(held, volume, batch.size)
        rows = batch.placed(NO_VOLUME if volume is None else volume.number)
        with self._changed:
            self._waiting -= batch.size
            self._outstanding -= 1
            self._synced[batch.number] = rows
            while self._next in self._synced:
                self._rows += self._synced.pop(self._next)
                self._next += 1
            self._changed.notify_all()
        return volume

    def _put(self, held: Sequence[Payload], volume: Volume | None, size: int) -> Volume:
        """Put payload in one transaction; return the volume that it went into."""
        items = [(payload.id, payload.data) for payload in held]
        ids = [payload.id for payload in held]
        stored = sum(len(payload.data) for payload in held)
        while True:
            volume = self._claims.writable(volume, ids, size)
            try:
                self._clock.run("sync", stored, volume.put, items)
            except IntegrityError:
                if not self._claims.give_up_if_damaged(volume):
                    raise
                volume = None
            else:
                return volume


def _cost(payload: Payload) -> int:
    return page_bytes(ID_BYTES, len(payload.data))


def _placed(form: Form, volume: int) -> Form:
    return msgspec.structs.replace(form, volume=volume) if form.has_payload else form
