"""A real git repository in a folder of its own, for the peers that live in git.

Owns commands, branches, merges and what is counted. Its home is private: no setting of the user is
read or written.

Counted after every commit, ``git gc --prune=now`` first: the sizes of all files in .git/objects,
.git/lfs/objects and .git/theta.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.storage.histories import MAIN, History, Step
from benchmarks.storage.schemes.base import Unavailable

COUNTED = ("objects", "lfs/objects", "theta")
SECONDS = 1800


@dataclass(frozen=True)
class GitWork:
    """A work tree with one model in it; ``programs`` come before those of the user's path."""

    root: Path
    home: Path
    file: str
    programs: Sequence[Path] = ()

    @classmethod
    def create(cls, folder: Path, history: History, programs: Sequence[Path] = ()) -> "GitWork":
        """Make an empty repository with git-lfs in it."""
        work = cls(folder / "work", folder / "home", history.file, programs)
        work.root.mkdir()
        work.home.mkdir()
        work.run("git", "init", "--quiet", "--initial-branch", MAIN)
        work.run("git", "config", "user.name", "Bench")
        work.run("git", "config", "user.email", "bench@example.org")
        work.run("git", "lfs", "install", "--local")
        return work

    def run(self, *command: str, answers: str = "") -> str:
        """Run a command; a failure is `Unavailable` with what it said last."""
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self._environment(),
                input=answers,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{' '.join(command[:3])}: {error}") from None
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise Unavailable(
                f"{' '.join(command[:3])} exited {done.returncode}: {' / '.join(said[-2:])}"
            )
        return done.stdout

    def go_to(self, step: Step) -> None:
        """Check out the step's branch, made at HEAD's place if it is new."""
        known = self.run("git", "branch", "--format", "%(refname:short)").split()
        if step.branch in known:
            self.run("git", "checkout", "--quiet", step.branch)
        elif step.parents:
            self.run("git", "checkout", "--quiet", "-b", step.branch)

    def place(self, step: Step) -> None:
        """Put the step's file into the work tree."""
        shutil.copyfile(step.path, self.root / self.file)

    def commit(self, step: Step) -> None:
        """Commit what is staged."""
        self.run("git", "commit", "--quiet", "--allow-empty", "-m", step.label)

    def begin_plain_merge(self, branch: str) -> None:
        """Begin a merge whose result is whatever is staged next."""
        self.run("git", "merge", "--quiet", "--no-commit", "--no-ff", "-s", "ours", branch)

    def saved(self) -> Path:
        """Return a copy of the whole work tree."""
        copy = self.root.with_name("saved")
        shutil.copytree(self.root, copy, symlinks=True)
        return copy

    def restore(self, copy: Path) -> None:
        """Put a copy in the place of the work tree."""
        shutil.rmtree(self.root)
        copy.rename(self.root)

    def size(self) -> int:
        """Return the bytes that are counted."""
        self.run("git", "gc", "--quiet", "--prune=now")
        folders = [self.root / ".git" / name for name in COUNTED]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([*map(str, self.programs), os.environ["PATH"]])
        private = {"HOME": str(self.home), "TMPDIR": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}
        return {**os.environ, **private, "PATH": path, "XDG_CONFIG_HOME": str(self.home)}
