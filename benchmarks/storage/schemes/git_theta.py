"""git-theta itself, the newest release of the package registry, run for real.

Owns its environment of its own, how a history is committed with it, and what it is told: the LoRA
commit is given as a low-rank update with its factors, as git-theta wants it.
"""

import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.storage.contents import read_contents
from benchmarks.storage.histories import TALK, History, Step
from benchmarks.storage.schemes.base import Cost, Measured, Scheme, Unavailable
from benchmarks.storage.schemes.git_work import GitWork

PACKAGE = "git-theta==0.2.0"
# The two that the package forgets to ask for, and the torch that needs no download here.
BESIDE = ("torch==2.13.0", "colorama", "prompt_toolkit")
ANSWERS = "avg-ab\n0.5\n"


def git_theta_scheme(cache: Path) -> Scheme:
    """Return the scheme with its environment kept in a folder."""

    def measure(history: History) -> Measured:
        return git_theta(history, _programs(cache / "git-theta"))

    about = "growth of .git after git gc; told that the LoRA commit is low-rank"
    return Scheme("git-theta", "real", about, measure, only=TALK)


def git_theta(history: History, programs: Path) -> Measured:
    """Count how the repository grows at every commit, as far as it gets."""
    with tempfile.TemporaryDirectory() as temporary:
        work = GitWork.create(Path(temporary), history, [programs])
        work.run("git", "theta", "install")
        work.run("git", "theta", "track", history.file)
        sizes, notes = [0], [PACKAGE.replace("==", " ")]
        for step in history.steps:
            try:
                notes += _commit(work, history, step)
                sizes.append(work.size())
            except Unavailable as stopped:
                notes.append(f"stopped at {step.label!r}: {stopped}")
                break
    if len(sizes) == 1:
        raise Unavailable("; ".join(notes))
    costs = [Cost(after - before) for before, after in pairwise(sizes)]
    return Measured(tuple(costs), "; ".join(notes))


def _commit(work: GitWork, history: History, step: Step) -> list[str]:
    """Commit a step; return what a reader must know of it."""
    work.go_to(step)
    notes = []
    if step.is_merge:
        other = history.steps[step.parents[1]].branch
        failure = _merge(work, other, len(read_contents(step.path).tensors))
        if failure is None:
            return []
        work.begin_plain_merge(other)
        notes = [f"its merge failed ({failure}); the average was added as new values instead"]
    work.place(step)
    told = []
    if step.factors is not None:
        told = ["--update-type", "low-rank", "--update-data", str(step.factors)]
    work.run("git", "theta", "add", history.file, *told)
    work.commit(step)
    return notes


def _merge(work: GitWork, branch: str, prompts: int) -> str | None:
    """Merge, answering every prompt with the average; on failure return what it said.

    What a failed merge wrote is taken away again, so that it is not counted.
    """
    before = work.saved()
    try:
        work.run("git", "merge", "--no-edit", branch, answers=ANSWERS * prompts)
    except Unavailable as failed:
        work.restore(before)
        return str(failed)
    shutil.rmtree(before)
    return None


def _programs(folder: Path) -> Path:
    """Return the folder of git-theta's programs, installed on first use."""
    programs = folder / "bin"
    if not (programs / "git-theta").exists():
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(programs / "pip"), "install", "--quiet", PACKAGE, *BESIDE)
    return programs


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise Unavailable(f"{PACKAGE} does not install: {' '.join(said)}")
