"""One process of the race between gc and commits: ``gc_race.py STORE ROLE SEED [--no-epoch]``.

A worker commits a few tensors out of a small universe to its own branch, without a parent, so
that what it committed before is garbage at once, and soon somebody shares it again. It prints a
line per acknowledged commit. The collector sweeps as fast as it can.
"""

import random
import sys
import time
from pathlib import Path

from tests.store.sources import (
    BytesSource,
    noise,
    publish,
    put_checkpoint,
    put_commit,
)
from theta_store import session as session_module
from theta_store.errors import Locked, MissingObject
from theta_store.limits import Limits
from theta_store.store import CollectedMeanwhile, Store

UNIVERSE = 12


def tensor(number: int) -> BytesSource:
    return BytesSource("U8", (40_000,), noise(number, 40_000))


def work(store: Store, seed: int) -> None:
    random.seed(seed)
    ref = f"refs/heads/worker{seed}"
    while True:
        names = sorted(random.sample(range(UNIVERSE), 3))
        try:
            with store.session() as session:
                tree = put_checkpoint(session, {f"t{n:02}": tensor(n) for n in names})
                commit = put_commit(session, tree, message=" ".join(map(str, names)))
                time.sleep(random.random() * 0.03)
                publish(session, store, commit, ref)
        except CollectedMeanwhile:
            print("again", flush=True)
            continue
        print("ack", commit.hex(), flush=True)


def collect(store: Store) -> None:
    collector = store.collector(undo_seconds=0)
    while True:
        try:
            report = collector.collect()
        except Locked:
            continue
        print("swept", report.chunks, flush=True)


def main() -> None:
    folder, role, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if "--no-epoch" in sys.argv:
        session_module.epoch_moved = lambda writer, since: False
    with Store(folder, limits=Limits(threads=2)) as store:
        try:
            work(store, seed) if role == "work" else collect(store)
        except MissingObject as error:
            print("lost", error, flush=True)


if __name__ == "__main__":
    main()
