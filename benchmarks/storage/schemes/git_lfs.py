"""git-lfs itself, run for real.

Owns how a history is committed with it.
"""

import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.storage.histories import TALK, History, Step
from benchmarks.storage.schemes.base import Cost, Measured, Scheme
from benchmarks.storage.schemes.git_work import GitWork


def git_lfs(history: History) -> Measured:
    """Count how the repository grows at every commit."""
    with tempfile.TemporaryDirectory() as temporary:
        work = GitWork.create(Path(temporary), history)
        work.run("git", "lfs", "track", history.file)
        work.run("git", "add", ".gitattributes")
        sizes = [0]
        for step in history.steps:
            _commit(work, history, step)
            sizes.append(work.size())
        version = work.run("git", "lfs", "version").split()[0]
    costs = [Cost(after - before) for before, after in pairwise(sizes)]
    return Measured(tuple(costs), version)


def _commit(work: GitWork, history: History, step: Step) -> None:
    work.go_to(step)
    if step.is_merge:
        work.begin_plain_merge(history.steps[step.parents[1]].branch)
    work.place(step)
    work.run("git", "add", history.file)
    work.commit(step)


GIT_LFS = Scheme("git-lfs", "real", "growth of .git after git gc", git_lfs, only=TALK)
