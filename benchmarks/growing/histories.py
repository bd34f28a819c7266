"""The axis of the history's length.

Owns one repository with a small model, whose history grows from place to place.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import theta
from benchmarks.growing import calls
from benchmarks.growing.files import change_small, write_small
from benchmarks.growing.points import Point

AXIS, COUNTS = "history", "commits"
COMMITS = (10, 100, 1000, 10_000)
QUICK = (5, 20)
FILE = "model.safetensors"
TENSORS, ELEMENTS = 10, 4096


def measure(folder: Path, places: Sequence[int]) -> Iterator[Point]:
    """Measure at so many commits; those that fill the history change no file."""
    root = folder / AXIS
    theta.init(str(root)).close()
    write_small(root / FILE, TENSORS, ELEMENTS)
    made = 0
    for commits in places:
        with theta.open(str(root)) as repo:
            repo.add([FILE])
            for step in range(made, commits - 1):
                details = theta.Details(
                    allow_empty=True, step=step, metrics={"loss": 1 / (1 + step)}
                )
                repo.commit(f"step {step}", author=calls.AUTHOR, details=details)
        change = partial(change_small, root / FILE, commits)
        yield Point(AXIS, commits, "commit of a change", calls.changed(root, change))
        yield Point(AXIS, commits, "status", calls.least(root, calls.status))
        yield Point(AXIS, commits, "log of 20 commits", calls.least(root, calls.log))
        yield Point(AXIS, commits, "diff of the last commit", calls.least(root, calls.diff))
        yield Point(AXIS, commits, "log of all commits", calls.least(root, calls.whole_log))
        made = commits
