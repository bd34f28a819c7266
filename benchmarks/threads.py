"""What threads are worth: a commit, a fine-tune and a checkout by ``core.threads``, beside a copy.

    python -m benchmarks.threads [--rounds 3] [--mib 512] [--threads 1 2 4 8] [--dtypes BF16]
                                 [--hold GIB] [--dry]

The models of `benchmarks.cp_ratio`. Every round takes each number of threads through a fresh
repository, in turn; whole processes, the files in the page cache. Written to benchmarks/results,
unless ``--dry``. Linux only.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cp_ratio import COPY, STEPS
from benchmarks.fixed_model import make_model, make_tuned
from benchmarks.held_memory import held_memory
from benchmarks.measured import THETA, Spent, about, facts_of, load, report, spend
from benchmarks.options import options

Row = tuple[Spent, ...]
COPIED = "cp"


def _copies(root: Path, sources: Sequence[Path]) -> Row:
    copy, spent = root / "copy", []
    for source in sources:
        os.sync()
        spent.append(spend(["sh", "-c", COPY, "sh", str(source), str(copy)], root))
        copy.unlink()
    return tuple(spent)


def _theta(root: Path, first: Path, tuned: Path, threads: int) -> Row:
    """Return what a first commit, a checkout and a fine-tune took, in the order of `STEPS`."""
    work = root / "work"
    work.mkdir()
    model = work / "model.safetensors"
    os.link(first, model)
    spend([THETA, "-q", "init"], work)
    spend([THETA, "-q", "config", "core.threads", str(threads)], work)
    spend([THETA, "-q", "add", model.name], work)
    committed = _timed(work, "commit", "-m", "first")
    model.unlink()
    restored = _timed(work, "restore", model.name)
    model.unlink()
    os.link(tuned, model)
    again = _timed(work, "commit", "-m", "tuned")
    shutil.rmtree(work)
    return committed, restored, again


def _timed(work: Path, *words: str) -> Spent:
    os.sync()
    return spend([THETA, "-q", *words], work)


def run(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Measure; return the report as Markdown and as values."""
    chosen = _parser().parse_args(arguments)
    told = facts_of("benchmarks.threads", arguments)
    found: dict[str, dict[str, list[Row]]] = {}
    for dtype in chosen.dtypes:
        rows = found[dtype] = {}
        with held_memory(chosen.hold), tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            root = Path(name)
            first, tuned = root / "first.safetensors", root / "tuned.safetensors"
            make_model(first, dtype, chosen.mib)
            make_tuned(first, tuned, dtype)
            for _ in range(chosen.rounds):
                rows.setdefault(COPIED, []).append(_copies(root, (first, first, tuned)))
                for threads in chosen.threads:
                    made = _theta(root, first, tuned, threads)
                    rows.setdefault(str(threads), []).append(made)
    told |= {"load at end": load(), "rounds": str(chosen.rounds), "model": f"{chosen.mib} MiB"}
    told["held meanwhile"] = f"{chosen.hold:g} GiB"
    return about("What threads are worth", told) + "\n" + _table(found), {
        "facts": told,
        "seconds": {
            dtype: {name: [[s.wall for s in row] for row in each] for name, each in rows.items()}
            for dtype, rows in found.items()
        },
    }


def _table(found: dict[str, dict[str, list[Row]]]) -> str:
    lines = [
        "Median seconds, and CPU seconds in brackets.\n",
        f"| dtype | threads | {' | '.join(STEPS)} |",
        "| --- " * (len(STEPS) + 2) + "|",
    ]
    for dtype, rows in found.items():
        for name, each in rows.items():
            steps = zip(*each, strict=True)
            cells = [
                f"{median(s.wall for s in step):.2f} ({median(s.cpu for s in step):.2f})"
                for step in steps
            ]
            lines.append(f"| {dtype} | {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _parser() -> argparse.ArgumentParser:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--dtypes", nargs="+", default=["BF16"])
    return parser


if __name__ == "__main__":
    report("threads", run)
