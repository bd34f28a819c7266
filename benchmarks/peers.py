"""Seconds of theta and its peers on the same files, in one run.

    python -m benchmarks.peers [--rounds 5] [--minutes 17] [--each 60] [--quick] [--models NAME…]
        [--contenders NAME…] [--hold GIB] [--redraw] [--folder DIR]

Installs the peers on first use, each in a folder of its own under .benchmarks/. Makes the models of
`benchmarks/speed/models.py` and takes every program through the operations of
`benchmarks/speed/operations.py`, round after round. Writes benchmarks/results/peers.json and .md,
the plot, and the tables of docs/explanation/performance.md. ``--quick`` uses tiny models: its
numbers mean nothing; that and a run of a part write below .benchmarks/ only. ``--hold`` keeps that
much memory occupied, for every program alike: see `benchmarks.held_memory`. Needs about 6 GB of
disk. Linux only.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.held_memory import held_memory
from benchmarks.page import put
from benchmarks.speed.contenders.all import contenders
from benchmarks.speed.contenders.base import Contender
from benchmarks.speed.models import MODELS, Model, quick
from benchmarks.speed.operations import Operation
from benchmarks.speed.plot import draw
from benchmarks.speed.process import Failed
from benchmarks.speed.programs import Programs
from benchmarks.speed.results import Failure, Results
from benchmarks.speed.rounds import Budget, Rounds
from benchmarks.speed.scene import Scene
from benchmarks.speed.surroundings import surroundings
from benchmarks.speed.table import page_part, report

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".benchmarks"
FILE = "peers.json"
PAGE = ROOT / "docs/explanation/performance.md"
PLOTS = ROOT / "docs/explanation/performance"
SLOW = 45.0


def run(
    arguments: Sequence[str],
    cache: Path = CACHE,
    known: Sequence[Contender] | None = None,
) -> Results:
    """Measure, and write the files; return the results."""
    chosen = _parser().parse_args(arguments)
    partial = chosen.quick or chosen.models or chosen.contenders
    out = cache / "results" if partial else ROOT / "benchmarks/results"
    if chosen.redraw:
        results = Results.load(out / FILE)
    else:
        everything = contenders() if known is None else known
        results = _measured(arguments, chosen, cache, everything, out / FILE)
    (out / FILE).with_suffix(".md").write_text(report(results))
    draw(results, out if partial else PLOTS)
    if not partial:
        put(PAGE, "peers", page_part(results))
    return results


def _measured(
    arguments: Sequence[str],
    chosen: argparse.Namespace,
    cache: Path,
    known: Sequence[Contender],
    kept: Path,
) -> Results:
    """Measure, and keep the results after every round: a run that is ended is not lost."""
    models = [m for m in MODELS if not chosen.models or m.name in chosen.models]
    place = chosen.folder or _made(cache)
    with (
        held_memory(chosen.hold),
        tempfile.TemporaryDirectory(dir=place, prefix="speed-") as name,
    ):
        folder = Path(name)
        told = surroundings("benchmarks.peers", arguments, folder)
        told["held meanwhile"] = f"{chosen.hold:g} GiB"
        results = Results(told, {}, {})
        there = _installed(results, known, chosen.contenders, Programs(_made(cache / "peers")))
        budget = Budget(chosen.rounds, 60 * chosen.minutes, chosen.each, SLOW)
        measured = [quick(m) for m in models] if chosen.quick else models
        rounds = Rounds(measured, there, budget, folder, results, _talk)
        _tell(results, measured)
        if not chosen.quick:
            rounds.warm_up(quick(MODELS[0]))
        for _ in rounds.measure():
            results.save(kept)
    return results


def _installed(
    results: Results, known: Sequence[Contender], names: Sequence[str], programs: Programs
) -> list[Contender]:
    """Return the programs that are there; tell of all."""
    there = []
    for contender in known:
        if names and contender.name not in names:
            continue
        results.contenders[contender.name] = told = _about(contender)
        try:
            contender.install(programs)
            told["version"] = contender.version()
            told["lacks"] = _lacks(contender)
        except Failed as failed:
            results.failures.append(Failure("", contender.name, "", str(failed)))
            continue
        there.append(contender)
    return there


def _about(contender: Contender) -> dict[str, Any]:
    return {
        "kind": contender.kind,
        "clock": "call" if contender.own_clock else "process",
        "about": contender.about,
        "version": "",
        "lacks": [],
    }


def _lacks(contender: Contender) -> list[str]:
    """Return the operations that a program does not have."""
    nowhere = Scene(Path(), ["model.safetensors"], {})
    return [op.value for op in Operation if not contender.timed(op, nowhere)]


def _tell(results: Results, models: Sequence[Model]) -> None:
    for model in models:
        results.models[model.name] = {"about": model.about, "bytes": model.nbytes}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _talk(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="at most so many")
    parser.add_argument("--minutes", type=float, default=17, help="no round begins that ends later")
    parser.add_argument("--each", type=float, default=60, help="seconds a program gets for a model")
    parser.add_argument("--quick", action="store_true", help="tiny models, for tests")
    parser.add_argument("--models", nargs="*", default=[], help="only these")
    parser.add_argument("--contenders", nargs="*", default=[], help="only these")
    parser.add_argument("--hold", type=float, default=0, help="GiB of memory to occupy")
    parser.add_argument("--redraw", action="store_true", help="only report the last run again")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    return parser


if __name__ == "__main__":
    print(report(run(sys.argv[1:])))
