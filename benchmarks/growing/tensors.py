"""The axis of the number of tensors.

Owns one file of many small tensors for each place.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import theta
from benchmarks.growing import calls
from benchmarks.growing.files import change_small, write_small
from benchmarks.growing.points import Point

AXIS, COUNTS = "tensors", "tensors of 256 bytes in one file"
TENSORS = (100, 1000, 10_000, 100_000)
QUICK = (10, 100)
FILE = "model.safetensors"
ELEMENTS = 64


def measure(folder: Path, places: Sequence[int]) -> Iterator[Point]:
    """Measure at so many tensors."""
    for tensors in places:
        root = folder / f"{tensors}"
        with theta.init(str(root)) as repo:
            write_small(root / FILE, tensors, ELEMENTS)
            repo.add([FILE])
        yield Point(AXIS, tensors, "first commit", calls.seconds(root, calls.commit))
        yield Point(AXIS, tensors, "status", calls.least(root, calls.status))
        yield Point(AXIS, tensors, "commit, nothing changed", calls.least(root, calls.commit))
        change = partial(change_small, root / FILE, tensors)
        yield Point(AXIS, tensors, "commit, one changed", calls.changed(root, change))
        yield Point(AXIS, tensors, "diff of that one", calls.least(root, calls.diff))
        yield Point(AXIS, tensors, "log", calls.least(root, calls.log))
