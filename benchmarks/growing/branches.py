"""The axis of the number of branches.

Owns one repository with a small model, whose branches grow from place to place.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import theta
from benchmarks.growing import calls
from benchmarks.growing.files import change_small, write_small
from benchmarks.growing.points import Point

AXIS, COUNTS = "branches", "branches"
BRANCHES = (1, 10, 100, 1000, 10_000)
QUICK = (1, 10)
FILE = "model.safetensors"
TENSORS, ELEMENTS = 10, 4096


def measure(folder: Path, places: Sequence[int]) -> Iterator[Point]:
    """Measure at so many branches; all but main point at its first commit."""
    root = folder / AXIS
    with theta.init(str(root)) as repo:
        write_small(root / FILE, TENSORS, ELEMENTS)
        repo.add([FILE])
        calls.commit(repo)
    made = 1
    for branches in places:
        with theta.open(str(root)) as repo:
            for number in range(made, branches):
                repo.create_branch(f"branch-{number}", "main")
        made = branches
        change = partial(change_small, root / FILE, branches)
        yield Point(AXIS, branches, "commit of a change", calls.changed(root, change))
        yield Point(AXIS, branches, "status", calls.least(root, calls.status))
        yield Point(AXIS, branches, "log of 20 commits", calls.least(root, calls.log))
        yield Point(AXIS, branches, "diff of the last commit", calls.least(root, calls.diff))
        yield Point(AXIS, branches, "list of branches", calls.least(root, calls.branches))
