"""Limits: they bound what is in flight, and nobody can tell from a store which ones it had."""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from tests.store.sources import BytesSource, noise, publish, put_commit, tree_of_tensor
from tests.store.updates import source, sparse, trained, weights
from theta_store.db import Volume
from theta_store.forms import Form
from theta_store.hints import Base
from theta_store.ids import ChunkId, TensorId
from theta_store.limits import MEMORY, Limits
from theta_store.objects import forms
from theta_store.pipeline import Pool
from theta_store.store import Store

MIB = 1 << 20
SMALL = Limits(threads=2, memory=20 * MIB)


def test_shares_leave_room_for_scratch() -> None:
    limits = Limits()
    assert limits.memory == MEMORY
    assert limits.queued_bytes + limits.cache_bytes + limits.jobs * MIB < 0.8 * MEMORY
    assert Limits(threads=64, memory=MIB).jobs == 64


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (4, 4), (8, 8), (64, 8)])
def test_threads_are_as_many_as_cores_but_no_more_than_help(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert Limits().threads == threads
    assert Limits(threads=cores).threads == cores
    assert Limits().writers == min(threads, 2)


def _make(folder: Path) -> Store:
    Store.create(folder, head="refs/heads/main").close()
    return Store(folder, limits=SMALL)


def _fill(folder: Path, limits: Limits) -> tuple[list[TensorId], dict[ChunkId, Form]]:
    """Store a small history and repack it; return the ids and all forms but for their places."""
    Store.create(folder, head="refs/heads/main").close()
    base, ids = weights(1, 1400, 1024), []
    steps = [base, trained(base, 2), sparse(base, 3)]
    with Store(folder, limits=limits) as store:
        for step in steps:
            hints = [Base(ids[-1])] if ids else []
            with store.session() as session:
                item = ("w", source(step, "F32"))
                (stored,) = session.put_tensors([item], hints=lambda _, given=hints: given)
                ids.append(stored.id)
                commit = put_commit(session, tree_of_tensor(session, stored.id), message=f"{ids}")
                publish(session, store, commit)
        store.repack((new, [Base(old)]) for old, new in pairwise(ids))
        with store._meta.read() as reader:
            found = {id_: _unplaced(form) for id_, form in forms(reader)}
    return ids, found


def _unplaced(form: Form) -> Form:
    return msgspec.structs.replace(form, volume=0, born=0)


def test_other_limits_give_the_same_ids_and_forms(tmp_path: Path) -> None:
    usual = _fill(tmp_path / "usual", Limits())
    for number, limits in enumerate((SMALL, Limits(threads=5, memory=MIB))):
        assert _fill(tmp_path / f"{number}", limits) == usual


@dataclass
class Counted:
    """Noise that is made as it is read; what was read and is not yet on the disk is counted."""

    size: int
    flight: "Flight"

    def read_into(self, start: int, out: memoryview) -> None:
        out[:] = noise(start, len(out))
        self.flight.enter(len(out))


@dataclass
class Flight:
    """Bytes in flight now, and the most there ever were."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, size: int) -> None:
        with self.lock:
            self.now += size
            self.most = max(self.most, self.now)

    def land(self, size: int) -> None:
        with self.lock:
            self.now -= size


@pytest.fixture
def flight(monkeypatch: pytest.MonkeyPatch) -> Flight:
    counted = Flight()
    original = Volume.put

    def put(volume: Volume, items: Iterable[tuple[bytes, bytes]]) -> None:
        whole = list(items)
        original(volume, whole)
        counted.land(sum(len(payload) for _, payload in whole))

    monkeypatch.setattr(Volume, "put", put)
    return counted


def test_bytes_in_flight_are_bounded(tmp_path: Path, flight: Flight) -> None:
    with _make(tmp_path / "s") as store, store.session() as session:
        list(session.put_blobs([("b", Counted(40 * MIB, flight))]))
        session.flush()
    slack = SMALL.threads * MIB + MIB
    assert SMALL.queued_bytes / 2 < flight.most <= SMALL.queued_bytes + slack
    assert abs(flight.now) < MIB


def test_repack_holds_no_more_than_its_share(tmp_path: Path, flight: Flight) -> None:
    rng = np.random.default_rng(4)
    base = rng.integers(0, 256, (12, MIB), np.uint8)
    new = np.where(rng.random(base.shape) < 0.7, rng.integers(0, 256, base.shape, np.uint8), base)
    limits = replace(SMALL, memory=5 * MIB)
    with _make(tmp_path / "s") as store, store.session() as session:
        tensors = [
            (f"{i}", BytesSource("U8", a.shape, a.tobytes())) for i, a in enumerate((base, new))
        ]
        ids = [TensorId(stored.id) for stored in session.put_tensors(tensors)]
        session.flush()
    puts: list[int] = []
    flight.land = puts.append  # type: ignore[method-assign]
    with Store(tmp_path / "s", limits=limits) as store:
        report = store.repack([(ids[1], [Base(ids[0])])])
    assert report.replaced == 12
    assert len(puts) > 1
    assert max(puts) <= limits.queued_bytes + MIB


def test_few_jobs_are_in_flight() -> None:
    pool = Pool(Limits(threads=2, memory=32 * MIB))
    pulled, taken, most = 0, 0, 0

    def jobs() -> Iterable[int]:
        nonlocal pulled, most
        for number in range(100):
            pulled += 1
            most = max(most, pulled - taken)
            yield number

    for done in pool.map(lambda number: number, jobs()):
        assert done == taken
        taken += 1
    pool.close()
    assert taken == 100
    assert most <= pool.limits.jobs + 1 == 5
