"""A history to repack, and the race of repacks, gc, commits and readers with kills.

    repack_race.py STORE ROLE SEED
    repack_race.py --kills N        a race with so many kills, reported per phase

A process writes the phase it is in to a file beside the store, so that a kill can be counted for
it; half of the kills wait for a victim that is publishing or sweeping.

A ``work``er commits steps of its own tensor, each on the one before, and prints a line per
acknowledged commit; ``repack`` and ``gc`` run without a pause; ``read`` reads every branch back.
"""

import itertools
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.store.sources import (
    MAIN,
    BytesSink,
    BytesSource,
    publish,
    put_commit,
    tree_of_tensor,
)
from tests.store.updates import source, trained, values_of, weights
from theta_store import freeing, need_graph
from theta_store.errors import IntegrityError, Locked
from theta_store.exchange import Exchange
from theta_store.gc import Collector
from theta_store.hints import Base, Hint
from theta_store.ids import CheckpointId, CommitId, TensorId
from theta_store.limits import Limits
from theta_store.store import CollectedMeanwhile, Session, Store

ROOT = Path(__file__).parents[2]
# By whether the seed is odd: one large tensor, or one that shares a cluster with another.
SHAPES = ((64, 96), (256, 384))
PHASE_BYTES = 16


def step(seed: int, number: int, kind: str) -> BytesSource:
    """Return the tensor of a run after so many steps; the same for every caller."""
    values = weights(seed, *SHAPES[seed % 2])
    for done in range(number):
        values = trained(values, 1000 * seed + done, 2e-5)
    return source(values, kind)


def tensors_of(seed: int, number: int) -> dict[str, BytesSource]:
    """Return what a worker stores; only ``w`` is committed."""
    tensor = step(seed, number, "BF16")
    if seed % 2:
        return {"w": tensor}
    return {"w": tensor, "x": source(trained(values_of(tensor), seed), "BF16")}


class History:
    """One tensor through some steps, committed one on the other by the fast tier."""

    def __init__(self, store: Store, kind: str, steps: int, seed: int = 1) -> None:
        self.store = store
        self.ids: list[TensorId] = []
        for number in range(steps):
            self.commit(step(seed, number, kind))

    def commit(self, tensor: BytesSource, ref: str = MAIN) -> CommitId:
        hints = [Base(id_) for id_ in self.ids[-1:]]
        with self.store.session() as session:
            (stored,) = session.put_tensors([("w", tensor)], hints=lambda name: hints)
            parent = self.store.refs.get(ref)
            parents = [] if parent is None else [parent]
            commit = put_commit(session, tree_of_tensor(session, stored.id), parents)
            publish(session, self.store, commit, ref)
        self.ids.append(stored.id)
        return commit

    def items(self) -> Iterator[tuple[TensorId, Sequence[Hint]]]:
        for base, id_ in itertools.pairwise(self.ids):
            yield id_, [Base(base)]

    def read(self) -> list[bytes]:
        return [read(self.store, id_) for id_ in self.ids]


def read(store: Store, id_: TensorId) -> bytes:
    record = store.tensor(id_)
    sink = BytesSink(record.nbytes)
    store.read_into([(record, sink)])
    return bytes(sink.data)


def lines_of(store: Store) -> dict[str, list[tuple[CommitId, TensorId, str]]]:
    """Return, per branch and oldest first, commits with their tensor and message."""
    found: dict[str, list[tuple[CommitId, TensorId, str]]] = {}
    for name, tip in store.refs.all("refs/heads/").items():
        line: list[tuple[CommitId, TensorId, str]] = []
        at: CommitId | None = tip
        while at is not None:
            commit = store.commit(at)
            entry = store.tree(commit.tree).entries[0]
            leaf = store.params(store.checkpoint(CheckpointId(entry.id)).params).entries[0]
            assert leaf.tensor is not None
            line.insert(0, (at, leaf.tensor, commit.message))
            at = commit.parents[0] if commit.parents else None
        found[name] = line
    return found


def work(store: Store, seed: int) -> None:
    ref = f"refs/heads/worker{seed}"
    line = lines_of(store).get(ref, [])
    number, last = (int(line[-1][2].split()[1]) + 1, line[-1][1]) if line else (0, None)
    while True:
        number = number % 36
        hints = [] if last is None else [Base(last)]
        try:
            with store.session() as session:
                tensors = tensors_of(seed, number).items()
                stored, *_ = session.put_tensors(tensors, hints=lambda _, h=hints: h)
                old = store.refs.get(ref)
                tree = tree_of_tensor(session, stored.id)
                # A line that has grown long starts anew, and leaves garbage behind, and bases.
                parents = [] if old is None or number % 12 == 0 else [old]
                commit = put_commit(session, tree, parents, f"{seed} {number}")
                publish(session, store, commit, ref)
        except CollectedMeanwhile:
            continue
        print("ack", commit.hex(), flush=True)
        number, last = number + 1, stored.id


def repack(store: Store, seed: int) -> None:
    random.seed(seed)
    # The tensors here are small.
    freeing.LEAST_BYTES = 1
    while True:
        lines = list(lines_of(store).values())
        random.shuffle(lines)
        pairs = [(a, b) for line in lines for (_, a, _), (_, b, _) in itertools.pairwise(line)]
        report = store.repack((b, [Base(a)]) for a, b in pairs)
        print("repacked", report.replaced, flush=True)
        freed = store.free_bases(undo_seconds=0)[0].replaced
        print("freed" if freed else "kept", freed, flush=True)


def collect(store: Store, seed: int) -> None:
    while True:
        try:
            print("swept", store.collector(undo_seconds=0).collect().chunks, flush=True)
        except Locked:
            continue


def look(store: Store, seed: int) -> None:
    while True:
        for line in lines_of(store).values():
            wrong = wrong_in(store, line[-1:])
            print("wrong" if wrong else "read", *wrong, flush=True)


def wrong_in(store: Store, line: Sequence[tuple[CommitId, TensorId, str]]) -> list[str]:
    found = []
    for commit, id_, message in line:
        seed, number = map(int, message.split())
        try:
            if read(store, id_) != step(seed, number, "BF16").data:
                found.append(f"{commit.hex()}: differs")
        except IntegrityError as error:
            if store.complete([commit]):
                found.append(f"{commit.hex()}: {error}")
    return found


ROLES = {"work": work, "repack": repack, "gc": collect, "read": look}


def tell_phases(path: Path) -> None:
    """Write what this process is doing to a file, as it does it."""
    with path.open("wb") as file:
        file.write(b" " * PHASE_BYTES)
    view = mmap.mmap(os.open(path, os.O_RDWR), PHASE_BYTES)

    def during(owner: type, method: str, phase: str) -> None:
        inner = getattr(owner, method)

        def told(*args: object, **keys: object) -> object:
            before = bytes(view[:])
            view[:] = phase.encode().ljust(PHASE_BYTES)
            try:
                return inner(*args, **keys)
            finally:
                view[:] = before

        setattr(owner, method, told)

    during(Session, "publish", "publish")
    during(Session, "put_tensors", "encode")
    during(Exchange, "_publish", "publish")
    during(Exchange, "_work", "encode")
    during(Collector, "_sweep", "sweep")
    during(Collector, "_reclaim", "reclaim")


def phase_of(path: Path) -> str:
    try:
        return path.read_bytes().decode().strip() or "between"
    except FileNotFoundError:
        return "starting"


@dataclass
class Outcome:
    """What a race came to."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    wrong: list[str] = field(default_factory=list)
    lines: Counter[str] = field(default_factory=Counter)


def race(folder: Path, *, kills: int) -> Outcome:
    """Run two workers, two repacks, a collector and a reader; kill them at random."""
    Store.create(folder, head=MAIN).close()
    outcome = Outcome()
    plan = [("work", 1), ("work", 2), ("repack", 3), ("repack", 4), ("gc", 5), ("read", 6)]
    running = {role: _start(folder, *role) for role in plan}
    for number in range(kills):
        time.sleep(random.random() * 0.6)
        victim = _in_phase(folder, plan) if number % 2 else random.choice(plan)
        outcome.kills[phase_of(_phase_file(folder, *victim))] += 1
        _finish(running[victim], outcome, victim)
        running[victim] = _start(folder, *victim)
    for role, process in running.items():
        _finish(process, outcome, role)
    _judge(folder, outcome)
    return outcome


def _in_phase(folder: Path, plan: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Return a process that is publishing or sweeping; after a while, any."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for role in random.sample(plan, len(plan)):
            if phase_of(_phase_file(folder, *role)) in {"publish", "sweep"}:
                return role
    return random.choice(plan)


def _phase_file(folder: Path, role: str, seed: int) -> Path:
    return folder.with_name(f"{folder.name}.{role}{seed}")


def _start(folder: Path, role: str, seed: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.store.repack_race", str(folder), role, str(seed)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process: "subprocess.Popen[str]", outcome: Outcome, role: tuple[str, int]) -> None:
    process.send_signal(signal.SIGKILL)
    lines = process.communicate()[0].splitlines()
    known = {"ack", "repacked", "freed", "kept", "swept", "read"}
    strange = [line for line in lines if line and line.split()[0] not in known]
    outcome.wrong += [f"{role[0]}: {line}" for line in strange[-6:]]
    outcome.lines.update(line.split()[0] for line in lines if line)
    outcome.acknowledged += sum(line.startswith("ack") for line in lines)


def _judge(folder: Path, outcome: Outcome) -> None:
    with Store(folder) as store:
        outcome.wrong += [str(problem) for problem in store.check()]
        for line in lines_of(store).values():
            outcome.wrong += wrong_in(store, line)
        with store._meta.read() as reader:
            outcome.wrong += [message for _, message in need_graph.breaches(reader)]


def main() -> None:
    if sys.argv[1] == "--kills":
        with tempfile.TemporaryDirectory() as place:
            outcome = race(Path(place) / "store", kills=int(sys.argv[2]))
        print(f"kills per phase {dict(outcome.kills)}; {outcome.acknowledged} commits acknowledged")
        print(f"done meanwhile {dict(outcome.lines)}")
        sys.exit("\n".join(outcome.wrong) or 0)
    folder, role, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tell_phases(_phase_file(folder, role, seed))
    with Store(folder, limits=Limits(threads=2)) as store:
        ROLES[role](store, seed)


if __name__ == "__main__":
    main()
