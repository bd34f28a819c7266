"""A whole commit and a whole checkout beside ``cp`` and ``fsync`` of the same file.

    python -m benchmarks.cp_ratio [--rounds 7] [--mib 512] [--dtypes BF16 F32] [--hold GIB]
                                  [--env NAME=VALUE …]

Makes a model of random-normal weights (sigma 0.02) in tensors of 16 MiB, and the same model after a
full fine-tune: every element changed by an Adam-like step. A round takes a fresh repository through
``theta commit``, ``theta restore`` of the deleted file, and ``theta commit`` of the fine-tune, each
right after a ``cp`` and ``sync`` of the same file. Whole processes; the source is in the page
cache, nothing else waits to be written. After the checkout a new process loads all tensors into
memory by the Python API, whose seconds are counted without the start of the interpreter. ``--hold``
keeps that much memory occupied: see `benchmarks.held_memory`. Needs about four times the model's
size on the disk. Linux only.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_model import make_model, make_tuned
from benchmarks.held_memory import held_memory
from benchmarks.measured import THETA, Spent, about, facts_of, load, report, spend
from benchmarks.options import options
from benchmarks.speed.contenders.base import CALLS

STEPS = ("first commit", "checkout", "commit after a full fine-tune")
TARGETS = {
    ("BF16", STEPS[0]): 1.5,
    ("F32", STEPS[0]): 2.0,
    ("BF16", STEPS[1]): 1.5,
    ("F32", STEPS[1]): 1.5,
    ("BF16", STEPS[2]): 2.5,
    ("F32", STEPS[2]): 2.5,
}
LEAST_LOADED = 1.0
COPY = 'cp --reflink=never "$1" "$2" && sync "$2"'


@dataclass
class Step:
    """What a step took in every round, and the copy just before it."""

    dtype: str
    name: str
    bytes: int
    copies: list[Spent] = field(default_factory=list)
    runs: list[Spent] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The wall time of each round against the copy's of the same round."""
        return [run.wall / copy.wall for run, copy in zip(self.runs, self.copies, strict=True)]

    @property
    def ratio(self) -> float:
        """The median against the median of the copies."""
        return median(s.wall for s in self.runs) / median(s.wall for s in self.copies)

    def row(self) -> str:
        """Return the line of the table."""
        target = TARGETS[self.dtype, self.name]
        gigabytes = self.bytes / 1e9
        cpu = [median(s.cpu for s in spent) / gigabytes for spent in (self.copies, self.runs)]
        return (
            f"| {self.dtype} | {self.name} | {_spread([s.wall for s in self.copies])} "
            f"| {_spread([s.wall for s in self.runs])} | **{self.ratio:.2f}** "
            f"| {_spread(self.ratios)} | {target} | {cpu[0]:.2f} | {cpu[1]:.2f} |"
        )

    def values(self) -> dict[str, Any]:
        """Return everything that was measured."""
        return {
            "dtype": self.dtype,
            "step": self.name,
            "bytes": self.bytes,
            "ratio": self.ratio,
            "target": TARGETS[self.dtype, self.name],
            "copy_wall": [s.wall for s in self.copies],
            "copy_cpu": [s.cpu for s in self.copies],
            "wall": [s.wall for s in self.runs],
            "cpu": [s.cpu for s in self.runs],
        }


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} – {max(values):.2f})"


class Bench:
    """The files of one dtype, and one repository at a time."""

    def __init__(self, root: Path, dtype: str, mib: int) -> None:
        self.root = root
        self.loads: list[float] = []
        self.first, self.tuned = root / "first.safetensors", root / "tuned.safetensors"
        make_model(self.first, dtype, mib)
        make_tuned(self.first, self.tuned, dtype)
        self.steps = [Step(dtype, name, self.first.stat().st_size) for name in STEPS]

    def round(self) -> None:
        """Take a fresh repository through every step, each after a copy."""
        work = self.root / "work"
        work.mkdir()
        model = work / "model.safetensors"
        os.link(self.first, model)
        spend([THETA, "-q", "init"], work)
        spend([THETA, "-q", "add", model.name], work)
        first, checkout, tuned = self.steps
        self._measure(first, self.first, [THETA, "-q", "commit", "-m", "first"])
        model.unlink()
        self._measure(checkout, self.first, [THETA, "-q", "restore", model.name])
        self._check(model, self.first)
        self.loads.append(self._load(work))
        model.unlink()
        os.link(self.tuned, model)
        self._measure(tuned, self.tuned, [THETA, "-q", "commit", "-m", "tuned"])
        if not tuned.runs[1:]:
            model.unlink()
            spend([THETA, "-q", "restore", model.name], work)
            self._check(model, self.tuned)
        shutil.rmtree(work)

    def _load(self, work: Path) -> float:
        """Return the GB/s at which a new process brings all tensors into memory."""
        command = [sys.executable, str(CALLS / "theta_calls.py"), "load", "HEAD"]
        done = subprocess.run(command, cwd=work, check=True, capture_output=True, text=True)
        return self.first.stat().st_size / 1e9 / float(done.stdout)

    def _measure(self, step: Step, source: Path, command: list[str]) -> None:
        copy = self.root / "copy"
        _settle(source)
        step.copies.append(spend(["sh", "-c", COPY, "sh", str(source), str(copy)], self.root))
        copy.unlink()
        _settle(source)
        step.runs.append(spend(command, self.root / "work"))

    def _check(self, made: Path, source: Path) -> None:
        if not filecmp.cmp(made, source, shallow=False):
            raise SystemExit(f"{source.name} did not come back byte for byte")


def _settle(source: Path) -> None:
    """Let nothing wait to be written, and have the source in the page cache."""
    os.sync()
    with source.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def run(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Measure; return the report as Markdown and as values."""
    chosen = _parser().parse_args(arguments)
    os.environ.update(dict(pair.split("=", 1) for pair in chosen.env))
    told = facts_of("benchmarks.cp_ratio", arguments)
    steps: list[Step] = []
    loads: dict[str, list[float]] = {}
    for dtype in chosen.dtypes:
        with (
            held_memory(chosen.hold),
            tempfile.TemporaryDirectory(dir=chosen.folder, prefix="theta-cp-") as name,
        ):
            bench = Bench(Path(name), dtype, chosen.mib)
            for number in range(chosen.rounds):
                bench.round()
                print(f"{dtype} round {number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
            steps += bench.steps
            loads[dtype] = bench.loads
    told["load at end"] = load()
    told["held meanwhile"] = f"{chosen.hold:g} GiB"
    told["rounds"], told["model"] = str(chosen.rounds), f"{chosen.mib} MiB, one safetensors file"
    values = {"facts": told, "steps": [step.values() for step in steps], "loads": loads}
    return _report(told, steps, loads), values


def _report(told: dict[str, str], steps: list[Step], loads: dict[str, list[float]]) -> str:
    head = (
        "| dtype | step | cp + fsync, s | theta, s | ratio | ratio per round | target "
        "| cp CPU s/GB | theta CPU s/GB |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    return "\n".join(
        [
            about("Commit and checkout beside cp + fsync", told),
            "Medians (least – greatest). The ratio is that of the medians.\n",
            head,
            *(step.row() for step in steps),
            "",
            *(f"- {dtype}: loaded at {_spread(found)} GB/s" for dtype, found in loads.items()),
            "",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--dtypes", nargs="+", default=["BF16", "F32"], choices=["BF16", "F32"])
    parser.add_argument("--env", nargs="*", default=[], help="set in every child")
    return parser


if __name__ == "__main__":
    report("cp_ratio", run)
