"""The toy merges of the acceptance tests, with more strategies: five seeds, two scenarios.

    python -m benchmarks.toy_merges [--seeds N] [--redraw]

Trains small networks on scikit-learn's digits as `tests/theta/acceptance/test_toy_merges.py` does,
merges them by the rules of `benchmarks/toys/runs.py`, prints a Markdown report, and writes it with
the JSON beside it, the plots and the table of docs/how-to/merging.md. A run with other seeds writes
below .benchmarks/ only.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measured import facts_of
from benchmarks.page import put
from benchmarks.storage.machine import facts
from benchmarks.toys.plot import draw
from benchmarks.toys.scores import Scores
from benchmarks.toys.table import page_part, report

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".benchmarks"
PAGE = ROOT / "docs/how-to/merging.md"
PLOTS = ROOT / "docs/how-to/merging"
FILE = "toy_merges.json"
SEEDS = 5


def run(arguments: Sequence[str], cache: Path = CACHE) -> Scores:
    """Train, merge, and write the files; return the scores."""
    chosen = _parser().parse_args(arguments)
    partial = chosen.seeds != SEEDS
    out = cache / "results" if partial else ROOT / "benchmarks/results"
    scores = Scores.load(out / FILE) if chosen.redraw else _measured(arguments, chosen.seeds)
    scores.save(out / FILE)
    (out / FILE).with_suffix(".md").write_text(report(scores))
    draw(scores, out if partial else PLOTS)
    if not partial:
        put(PAGE, "toys", page_part(scores))
    return scores


def _measured(arguments: Sequence[str], seeds: int) -> Scores:
    from benchmarks.toys.runs import measure

    told = facts_of("benchmarks.toy_merges", arguments)
    scores = Scores({**told, "packages": facts([])["packages"]})
    for line in measure(scores, range(seeds)):
        print(line, file=sys.stderr, flush=True)
    return scores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="so many, from 0")
    parser.add_argument("--redraw", action="store_true", help="only report the last run again")
    return parser


if __name__ == "__main__":
    print(report(run(sys.argv[1:])))
