"""A merge that is killed: the repository is as it was, and the next try goes on from there."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, tree
from theta.workspace.draft import TEMPORARY

COUNT = 12
NOTE = Path(".theta", "merge-finished")
# theta itself, but every tensor is noted at once, and computing one takes a while.
SLOW = """
import sys, time
from theta.merge import finished, sources
finished.EVERY = 1
read = sources.MergedSource.read_into
def slow(self, start, out):
    time.sleep(0.02)
    read(self, start, out)
sources.MergedSource.read_into = slow
from theta.cli import run
sys.exit(run(["merge", "rte", "-s", "dare density=0.5", "-m", "merged"]))
"""


@pytest.fixture
def fork(shell: Shell) -> Shell:
    """Models of tensors that fill a batch of the pipeline each."""
    rng = np.random.default_rng(3)

    def values() -> dict[str, np.ndarray]:
        return {f"w{n}": rng.random(150_000, np.float32) for n in range(COUNT)}

    shell.save(**values())
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", **values())
    shell.commit("ours", **values())
    return shell


def _lines(shell: Shell) -> int:
    path = shell.folder / NOTE
    return path.read_text().count("\n") if path.exists() else 0


def _kill(shell: Shell, after: int) -> int:
    """Kill a merge once so many tensors are noted; return how many are by then."""
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], cwd=shell.folder, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while _lines(shell) < after and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
    return _lines(shell)


def test_a_killed_merge_changes_nothing_and_is_gone_on_with(fork: Shell) -> None:
    fork("merge", "rte", "-s", "dare density=0.5", "-m", "merged")
    expected = tree(fork), (fork.folder / "m.safetensors").read_bytes()
    fork("reset", "--hard", "HEAD~1")
    assert not (fork.folder / NOTE).exists()
    fork("gc")
    before = fork("op", "--json").out, (fork.folder / "m.safetensors").read_bytes()
    done = 0
    for after in (1, 4, 9):
        done = _kill(fork, after)
        assert (fork("op", "--json").out, (fork.folder / "m.safetensors").read_bytes()) == before
        # The file that was being written lies there; what the try before has left does not.
        assert len(list(fork.folder.glob(f"{TEMPORARY}*"))) == 1
        assert fork("status", "--json").json["clean"]
        fork("fsck")
    answer = fork("merge", "rte", "-s", "dare density=0.5", "-m", "merged", "--json").json
    assert answer["reused"] == done >= 9
    assert (tree(fork), (fork.folder / "m.safetensors").read_bytes()) == expected
    assert not (fork.folder / NOTE).exists()
    assert not list(fork.folder.glob(f"{TEMPORARY}*"))


def test_another_seed_or_strategy_reuses_nothing(fork: Shell) -> None:
    _kill(fork, 2)
    answer = fork("merge", "rte", "-s", "dare density=0.5", "--seed", "1", "--json").json
    assert answer["reused"] == 0


def test_what_gc_took_is_computed_again(fork: Shell) -> None:
    done = _kill(fork, 3)
    fork("gc")
    with (fork.folder / NOTE).open("a") as file:
        file.write("a line that was cut o")
    answer = fork("merge", "rte", "-s", "dare density=0.5", "--json").json
    assert (answer["state"], answer["reused"]) == ("merged", 0)
    assert done >= 3
    fork("fsck")


# theta itself, but it takes a while between two files.
WRITING = """
import sys, time
import theta.workspace.writing as workspace
write = workspace.write_entry
def slow(*args, **more):
    written = write(*args, **more)
    time.sleep(5)
    return written
workspace.write_entry = slow
from theta.cli import run
sys.exit(run(["merge", "rte", "-s", "average", "-m", "merged"]))
"""


def test_killed_between_two_files_it_is_gone_on_with(shell: Shell) -> None:
    for value, name in ((1, "first"), (5, "rte"), (3, "ours")):
        if name == "rte":
            shell("switch", "-c", "rte")
        elif name == "ours":
            shell("switch", "main")
        shell.save("a.safetensors", w=value)
        shell.save("b.safetensors", w=value)
        shell("add", ".")
        shell("commit", "-m", name)
    before = shell("op", "--json").out
    with subprocess.Popen(
        [sys.executable, "-c", WRITING], cwd=shell.folder, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while shell.load("a.safetensors") == {"w": 3}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert shell.load("b.safetensors") == {"w": 3}
    assert shell("op", "--json").out == before
    answer = shell("merge", "rte", "-s", "average", "--json").json
    assert (answer["state"], answer["reused"]) == ("merged", 2)
    assert shell.load("a.safetensors") == shell.load("b.safetensors") == {"w": 4}
    assert shell("status", "--json").json["clean"]
