"""Payload: two transactions at once, rows in the order of arrival, nothing handed out too early."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store import payloads as payloads_module
from theta_store.claims import Claims
from theta_store.db import Volume
from theta_store.errors import DiskFull, ResourceError, UsageError
from theta_store.forms import NO_VOLUME, Form
from theta_store.ids import ChunkId, chunk_id
from theta_store.payloads import Payload, PayloadWriter
from theta_store.store import Store

KIB = 1 << 10
BATCH = 64 * KIB
SECONDS = 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    Store.create(tmp_path / "store", head="refs/heads/main").close()
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads_module, "BATCH_BYTES", BATCH)


def _writer(store: Store, writers: int = 2, queued: int = 8 * BATCH) -> PayloadWriter:
    return PayloadWriter(store._meta, store._volumes, queued_bytes=queued, writers=writers)


def _payload(number: int, size: int = 70 * KIB) -> Payload:
    """Return payload that fills a batch by itself, if no other size is asked for."""
    data = number.to_bytes(4, "little") + bytes(size - 4)
    return Payload(chunk_id(data), _form(size), data)


def _form(size: int, *, has_payload: bool = True) -> Form:
    return Form(
        volume=0 if has_payload else NO_VOLUME,
        predictor=0,
        codec=0,
        version=1,
        width=1,
        plain=size,
        stored=size if has_payload else 0,
        depth=0,
        needs=(),
        born=0,
    )


def _ids(payloads: Sequence[Payload]) -> list[ChunkId]:
    return [payload.id for payload in payloads]


class Gate:
    """Takes the place of `Volume.put`: lets a transaction through when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.open: dict[ChunkId, threading.Event] = {}
        put = Volume.put

        def wait(volume: Volume, items: Sequence[tuple[ChunkId, bytes]]) -> None:
            self.begun.release()
            event = self.open.get(items[0][0])
            assert event is None or event.wait(SECONDS)
            put(volume, items)

        monkeypatch.setattr(Volume, "put", wait)

    def close(self, payload: Payload) -> threading.Event:
        """Hold back the transaction that begins with this payload."""
        return self.open.setdefault(payload.id, threading.Event())

    def wait(self, count: int) -> bool:
        """Wait until so many transactions have begun."""
        return all(self.begun.acquire(timeout=SECONDS) for _ in range(count))


def test_two_transactions_are_on_their_way_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, payloads = Gate(monkeypatch), [_payload(0), _payload(1)]
    events = [gate.close(payload) for payload in payloads]
    writer = _writer(store)
    for payload in payloads:
        writer.put([payload])
    assert gate.wait(2)
    for event in events:
        event.set()
    rows = writer.flush()
    writer.close()
    assert [id_ for id_, _ in rows] == _ids(payloads)
    assert len({form.volume for _, form in rows}) == 2


def test_no_row_is_handed_out_before_those_that_came_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, payloads = Gate(monkeypatch), [_payload(0), _payload(1), _payload(2)]
    first = gate.close(payloads[0])
    writer = _writer(store)
    for payload in payloads:
        writer.put([payload])
    # The third begins in the place of the second, which is done by then.
    assert gate.wait(3)
    assert writer.pending == 0
    first.set()
    rows = writer.flush()
    writer.close()
    assert [id_ for id_, _ in rows] == _ids(payloads)


def test_one_writer_is_enough_for_what_is_small(store: Store) -> None:
    writer = _writer(store)
    for number in range(8):
        writer.put([_payload(number, size=KIB)])
        assert len(writer.flush()) == 1
    writer.close()
    assert len(store._volumes.numbers()) == 1


def test_one_writer_uses_one_volume(store: Store) -> None:
    writer = _writer(store, writers=1)
    for number in range(8):
        writer.put([_payload(number)])
    assert len({form.volume for _, form in writer.flush()}) == 1
    writer.close()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_of_either_ends_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    payloads, put = [_payload(0), _payload(1)], Volume.put

    def fail(volume: Volume, items: Sequence[tuple[ChunkId, bytes]]) -> None:
        if items[0][0] == payloads[failing].id:
            raise DiskFull("no room")
        put(volume, items)

    monkeypatch.setattr(Volume, "put", fail)
    writer = _writer(store)

    def use() -> None:
        for payload in payloads:
            writer.put([payload])
        writer.flush()

    for _ in range(2):
        with pytest.raises(DiskFull):
            use()
    with pytest.raises(DiskFull):
        writer.flush()
    writer.close()


@pytest.mark.parametrize("fails", [False, True])
def test_who_waits_for_room_goes_on_when_there_is_some_or_there_never_will_be(
    store: Store, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    begun, go_on, put = threading.Event(), threading.Event(), Volume.put

    def wait(volume: Volume, items: Sequence[tuple[ChunkId, bytes]]) -> None:
        begun.set()
        assert go_on.wait(SECONDS)
        if fails:
            raise DiskFull("no room")
        put(volume, items)

    monkeypatch.setattr(Volume, "put", wait)
    writer = _writer(store, writers=1, queued=2 * BATCH)
    writer.put([_payload(0)])
    assert begun.wait(SECONDS)
    told: list[str] = []

    def fill() -> None:
        try:
            writer.put([_payload(1)])
            told.append("put")
        except DiskFull:
            told.append("failed")

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join(0.1)
    assert told == []
    go_on.set()
    thread.join(SECONDS)
    assert told == ["failed" if fails else "put"]
    writer.close()


def test_claims_are_kept_until_the_end(store: Store) -> None:
    writer = _writer(store)
    for number in range(4):
        writer.put([_payload(number)])
    used = {form.volume for _, form in writer.flush()}
    assert all(store._volumes.claim(number) is None for number in used)
    writer.close()
    for number in used:
        claim = store._volumes.claim(number)
        assert claim is not None
        claim.release()


def test_two_writers_never_have_the_same_volume(store: Store) -> None:
    claims = Claims(store._meta, store._volumes, capacity=1 << 30)
    first, second = (claims.writable(None, [], KIB) for _ in range(2))
    assert first.number != second.number
    claims.release()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([0, 100, 5 * KIB, 40 * KIB, 70 * KIB]), max_size=24), st.data())
def test_all_payload_lies_where_its_row_says(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("payloads") / "store"
    Store.create(folder, head="refs/heads/main").close()
    flushes = data.draw(st.sets(st.integers(0, 24), max_size=4))
    with Store(folder) as store:
        writer = _writer(store)
        rows, wanted = [], []
        for number, size in enumerate(sizes):
            payload = _payload(number, size or 50)
            if not size:
                # A form without payload: its row has its place among the others.
                payload = Payload(payload.id, _form(50, has_payload=False), b"")
            wanted.append(payload)
            writer.put([payload])
            if number in flushes:
                rows += writer.flush()
        rows += writer.flush()
        writer.close()
        assert [id_ for id_, _ in rows] == _ids(wanted)
        for (id_, form), payload in zip(rows, wanted, strict=True):
            if not payload.data:
                assert form.volume == NO_VOLUME
                continue
            with store._volumes.payload(form.volume, id_) as found:
                assert found == payload.data


def test_who_waits_for_room_at_the_end_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, first = Gate(monkeypatch), _payload(0)
    event = gate.close(first)
    writer = _writer(store, writers=1, queued=2 * BATCH)
    writer.put([first])
    assert gate.wait(1)
    told: list[str] = []

    def fill() -> None:
        try:
            writer.put([_payload(1)])
        except UsageError as error:
            told.append(str(error))

    waiting = threading.Thread(target=fill)
    closing = threading.Thread(target=writer.close)
    waiting.start()
    waiting.join(0.1)
    closing.start()
    waiting.join(SECONDS)
    assert told == ["this session is over; nothing more is stored"]
    event.set()
    closing.join(SECONDS)
    for use in (writer.flush, lambda: writer.put([_payload(2)])):
        with pytest.raises(UsageError):
            use()


@pytest.mark.parametrize("given", [0, 1])
def test_where_the_system_has_no_thread_to_give(
    store: Store, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    start, started = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "theta-payload":
            if len(started) == given:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    gate = Gate(monkeypatch)
    event = gate.close(_payload(0))
    writer = _writer(store)
    if given:
        for number in range(3):
            writer.put([_payload(number)])
        event.set()
        assert len(writer.flush()) == 3
    else:
        writer.put([_payload(0)])
        with pytest.raises(ResourceError, match="no thread"):
            writer.flush()
    writer.close()
    for number in store._volumes.numbers():
        claim = store._volumes.claim(number)
        assert claim is not None
        claim.release()


@pytest.mark.parametrize("queued", [0, 1, 3])
def test_next_to_no_memory_is_slow_and_no_more(store: Store, queued: int) -> None:
    writer = _writer(store, queued=queued)
    for number in range(4):
        writer.put([_payload(number, size=KIB)])
    assert len(writer.flush()) == 4
    writer.close()
