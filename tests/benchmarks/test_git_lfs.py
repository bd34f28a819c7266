"""The real git-lfs keeps every distinct file whole; what is counted is that and little more."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.storage.histories import History, Step
from benchmarks.storage.schemes.base import Unavailable
from benchmarks.storage.schemes.git_lfs import git_lfs
from benchmarks.storage.schemes.git_work import GitWork

pytestmark = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="apt install git-lfs")
SIZE = 200_000


@pytest.fixture
def history(tmp_path: Path) -> History:
    paths = []
    for seed in range(4):
        paths.append(tmp_path / f"{seed}.pt")
        paths[-1].write_bytes(np.random.default_rng(seed).bytes(SIZE))
    steps = (
        Step("base", paths[0]),
        Step("side", paths[1], (0,), "side"),
        Step("main", paths[2], (0,)),
        Step("average", paths[3], (2, 1)),
        Step("again", paths[0], (3,)),
    )
    return History("h", "h", steps)


def test_every_new_file_costs_its_size(history: History) -> None:
    measured = git_lfs(history)
    totals = [cost.total for cost in measured.costs]
    assert all(SIZE <= total < SIZE + 5000 for total in totals[:4])
    assert totals[4] < 5000
    assert measured.note.startswith("git-lfs/")


def test_a_branch_is_left_and_found_again(history: History, tmp_path: Path) -> None:
    work = GitWork.create(tmp_path, history)
    for step in history.steps[:3]:
        work.go_to(step)
        work.place(step)
        work.run("git", "add", ".")
        work.commit(step)
    assert work.run("git", "log", "--format=%s", "main").split() == ["main", "base"]
    assert work.run("git", "log", "--format=%s", "side").split() == ["side", "base"]


def test_a_failing_command_says_what_it_said(history: History, tmp_path: Path) -> None:
    work = GitWork.create(tmp_path, history)
    with pytest.raises(Unavailable, match=r"exited 1.*no-such"):
        work.run("git", "checkout", "no-such")


def test_a_work_tree_is_put_back(history: History, tmp_path: Path) -> None:
    work = GitWork.create(tmp_path, history)
    copy = work.saved()
    (work.root / "new").write_text("x")
    work.restore(copy)
    assert not (work.root / "new").exists()
    assert work.run("git", "status", "--short") == ""
