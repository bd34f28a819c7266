"""Speed of storing an update on its base, per core: ``python -m benchmarks.bench_engine``.

Stores tensors of 16 MiB on their base in a real store on disk, for each kind of update, and prints
bytes per CPU second (user + system, all threads), the stored share, and the time without discovery.
"""

import resource
import shutil
import tempfile
import time
from pathlib import Path

from tests.store.sources import MAIN, BytesSink
from tests.store.updates import source, sparse, trained, weights
from theta_store import lineage
from theta_store.hints import Base
from theta_store.store import Store

SHAPE = (2048, 2048)
TENSORS = 16
UPDATES = {"dense": trained, "sparse": sparse}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _nothing(old: object, new: object) -> None:
    """Find nothing."""


def _measure(kind: str, update: str, *, discovery: bool) -> tuple[float, float, float, float]:
    folder = Path(tempfile.mkdtemp())
    found = lineage.discover
    if not discovery:
        lineage.discover = _nothing
    try:
        with Store.create(
            folder / "s",
            head=MAIN,
        ) as store:
            return _stored(store, kind, update)
    finally:
        lineage.discover = found
        shutil.rmtree(folder)


def _stored(store: Store, kind: str, update: str) -> tuple[float, float, float, float]:
    bases = [weights(seed, *SHAPE) for seed in range(TENSORS)]
    old = [source(base, kind) for base in bases]
    new = [source(UPDATES[update](base, 50 + i), kind) for i, base in enumerate(bases)]
    with store.session() as session:
        named = [(str(i), tensor) for i, tensor in enumerate(old)]
        ids = {s.name: s.id for s in session.put_tensors(named)}
        session.flush()
    total = sum(len(tensor.data) for tensor in new)
    cpu, wall = _cpu(), time.perf_counter()
    with store.session() as session:
        items = [(str(i), tensor) for i, tensor in enumerate(new)]
        made = list(session.put_tensors(items, hints=lambda name: [Base(ids[name])]))
        session.flush()
        stored = session.stored_bytes
    cpu, wall = _cpu() - cpu, time.perf_counter() - wall
    back = _cpu()
    for item, tensor in zip(made, new, strict=True):
        sink = BytesSink(len(tensor.data))
        store.read_into([(store.tensor(item.id), sink)])
        assert bytes(sink.data) == tensor.data
    return total / cpu / 1e6, total / wall / 1e6, stored / total, total / (_cpu() - back) / 1e6


def main() -> None:
    """Print a line per dtype and update."""
    print("dtype  update     MB/s per core  MB/s wall  stored  read MB/s per core  no discovery")
    for kind in ("F32", "BF16"):
        for update in UPDATES:
            runs = [_measure(kind, update, discovery=True) for _ in range(2)]
            best = max(runs)
            plain = max(_measure(kind, update, discovery=False) for _ in range(2))
            print(
                f"{kind:<6} {update:<9} {best[0]:>13.0f} {best[1]:>10.0f} {best[2]:>7.4f} "
                f"{best[3]:>18.0f} {plain[0]:>13.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
