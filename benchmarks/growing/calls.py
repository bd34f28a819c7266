"""Calls of theta's Python API with a clock, each on a repository that is opened for it.

Owns the clock and the author. Must not know any axis.
"""

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import theta

AUTHOR = theta.Author("Bench <bench@example.org>")
RUNS = 3
Call = Callable[[theta.Repo], object]


def seconds(root: Path, call: Call) -> float:
    """Return the seconds of opening a repository, one call, and closing it."""
    start = time.perf_counter()
    with theta.open(str(root)) as repo:
        call(repo)
    return time.perf_counter() - start


def least(root: Path, call: Call) -> float:
    """Return the least of some runs."""
    return min(seconds(root, call) for _ in range(RUNS))


def changed(root: Path, change: Callable[[int], None]) -> float:
    """Return the median seconds of committing a change, of some changes by number."""
    taken = []
    for number in range(RUNS):
        change(number)
        taken.append(seconds(root, commit))
    return median(taken)


def commit(repo: theta.Repo) -> None:
    """Commit what is tracked."""
    repo.commit("change", author=AUTHOR, details=theta.Details(allow_empty=True))


def status(repo: theta.Repo) -> None:
    """Look what has changed."""
    repo.status()


def log(repo: theta.Repo) -> None:
    """Read the newest 20 commits."""
    list(islice(repo.log(), 20))


def diff(repo: theta.Repo) -> None:
    """Measure what the last commit changed."""
    with repo.diff("main~1", "main") as files:
        for file in files:
            for param in file.params:
                param.measure()


def whole_log(repo: theta.Repo) -> None:
    """Read every commit."""
    for _ in repo.log():
        pass


def branches(repo: theta.Repo) -> None:
    """List all branches."""
    repo.branches()
