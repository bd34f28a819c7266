"""Speed of storing an update on its base, per core.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.bench_engine [--rounds 3] [--one-core]
                                            [--hold GIB] [--recycle MIB] [--dry]

Stores tensors of 16 MiB on their base in a real store on disk, for each kind of update, and
prints bytes per CPU second (user + system, all threads), the stored share, and what looking for
structure adds to the CPU seconds of the rest: its own are counted, since two runs differ by more.
The allocator and the linear algebra are set as the command line sets them. Cores that share
hardware slow each other down, which CPU seconds count as work: ``--one-core`` (Linux) keeps all
threads on one. On a virtual machine the host supplies a page when it is first touched, and the
page cache takes new ones for whatever is written: ``--recycle`` writes and removes a file of so
many MiB before the clock starts, so that it has pages to use again.
"""

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.held_memory import held_memory
from benchmarks.measured import about, facts_of, load, report
from tests.store.sources import MAIN, BytesSink
from tests.store.updates import source, sparse, trained, weights
from theta.cli.allocator import keep_pages
from theta_store import lineage
from theta_store.hints import Base
from theta_store.store import Store

SHAPE = (2048, 2048)
TENSORS = 16
UPDATES = {"dense": trained, "sparse": sparse}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass
class _Search:
    """Counts the CPU seconds of looking for what a tensor follows from."""

    cpu: float = 0.0

    def __enter__(self) -> Self:
        self._inner = inner = lineage.Lineage.of_source

        def counted(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*arguments)
            finally:
                self.cpu += time.thread_time() - start

        lineage.Lineage.of_source = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        lineage.Lineage.of_source = self._inner  # type: ignore[method-assign]


def _recycle(folder: Path, mib: int) -> None:
    path = folder / "recycled"
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _measure(kind: str, update: str, recycle: int) -> tuple[float, ...]:
    folder = Path(tempfile.mkdtemp())
    try:
        with Store.create(folder / "s", head=MAIN) as store:
            return _stored(store, kind, update, folder, recycle)
    finally:
        shutil.rmtree(folder)


def _stored(store: Store, kind: str, update: str, folder: Path, recycle: int) -> tuple[float, ...]:
    bases = [weights(seed, *SHAPE) for seed in range(TENSORS)]
    old = [source(base, kind) for base in bases]
    new = [source(UPDATES[update](base, 50 + i), kind) for i, base in enumerate(bases)]
    with store.session() as session:
        named = [(str(i), tensor) for i, tensor in enumerate(old)]
        ids = {s.name: s.id for s in session.put_tensors(named)}
        session.flush()
    total = sum(len(tensor.data) for tensor in new)
    _recycle(folder, recycle)
    cpu, wall = _cpu(), time.perf_counter()
    with _Search() as search, store.session() as session:
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
    back = _cpu() - back
    speeds = (total / seconds / 1e6 for seconds in (cpu, wall, back))
    return *speeds, stored / total, search.cpu / (cpu - search.cpu)


COLUMNS = (
    "MB/s per core",
    "MB/s wall",
    "read, MB/s per core",
    "stored",
    "discovery adds",
    "least MB/s per core",
)


def run(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Measure; return the report as Markdown and as values: medians, and the least speed."""
    chosen = _parser().parse_args(arguments)
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("set OPENBLAS_NUM_THREADS=1, as the command line does for itself")
    if chosen.one_core:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    keep_pages()
    told = facts_of("benchmarks.bench_engine", arguments)
    with held_memory(chosen.hold):
        rows = [
            _row(kind, update, chosen.rounds, chosen.recycle)
            for kind in ("F32", "BF16")
            for update in UPDATES
        ]
    told |= {"held meanwhile": f"{chosen.hold:g} GiB", "recycled": f"{chosen.recycle} MiB"}
    told |= {"rounds": str(chosen.rounds), "load at end": load()}
    lines = [f"| dtype | update | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for kind, update, cpu, wall, read, stored, search, least in rows:
        shares = f"{stored:.4f} | {search:.1%} | {least:.0f}"
        lines.append(f"| {kind} | {update} | {cpu:.0f} | {wall:.0f} | {read:.0f} | {shares} |")
    text = "\n".join([about("Storing an update on its base", told), *lines, ""])
    return text, {"facts": told, "columns": COLUMNS, "rows": rows}


def _row(kind: str, update: str, rounds: int, recycle: int) -> list[Any]:
    found = [_measure(kind, update, recycle) for _ in range(rounds)]
    columns = [*map(median, zip(*found, strict=True)), min(found)[0]]
    print(kind, update, *columns, file=sys.stderr, flush=True)
    return [kind, update, *columns]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one-core", action="store_true", help="keep all threads on one core")
    parser.add_argument("--hold", type=float, default=0, help="GiB of memory to occupy")
    parser.add_argument("--recycle", type=int, default=0, help="MiB of page cache to use again")
    parser.add_argument("--dry", action="store_true", help="print only, keep no result")
    return parser


if __name__ == "__main__":
    report("engine_one_core" if "--one-core" in sys.argv else "engine", run)
