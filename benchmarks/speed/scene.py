"""Where one program works in one round: a work tree, a store beside it, and a home of its own.

Owns the folders, the files in them and what is counted as stored. Must not run anything. No setting
of the user is read or written.
"""

import filecmp
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.operations import Variant

FOLDER = "model"
BLOCK = 512


@dataclass(frozen=True)
class Scene:
    """``sources`` holds the files of every variant; the work tree has them in ``model``."""

    root: Path
    files: Sequence[str]
    sources: Mapping[Variant, Path]

    @property
    def work(self) -> Path:
        """The work tree, in which every command runs."""
        return self.root / "work"

    @property
    def store(self) -> Path:
        """A folder for programs that keep their store elsewhere."""
        return self.root / "store"

    @property
    def home(self) -> Path:
        """The home of the program's settings and caches."""
        return self.root / "home"

    @property
    def paths(self) -> list[str]:
        """The files from the work tree."""
        return [f"{FOLDER}/{file}" for file in self.files]

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.work / FOLDER, self.store, self.home):
            folder.mkdir(parents=True)

    def place(self, variant: Variant) -> None:
        """Put the files of a variant in the work tree, as new files with the variant's times."""
        self.clear()
        for file in self.files:
            shutil.copy2(self.sources[variant] / file, self.work / FOLDER / file)

    def clear(self) -> None:
        """Delete the files; some programs leave them without write permission."""
        for path in self.paths:
            (self.work / path).unlink(missing_ok=True)

    def touch(self) -> None:
        """Give every file the present time."""
        for path in self.paths:
            os.utime(self.work / path)

    def differing(self, variant: Variant) -> list[str]:
        """Return the files that are not byte for byte those of a variant."""
        source = self.sources[variant]
        pairs = [(self.work / FOLDER / file, source / file) for file in self.files]
        return [
            made.name
            for made, wanted in pairs
            if not (made.exists() and filecmp.cmp(made, wanted, shallow=False))
        ]

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a command; ``extra`` may put programs before the path."""
        private = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "TMPDIR": str(self.root),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return {**os.environ, **private, **extra}


def stored(folders: Iterable[Path]) -> int:
    """Return the bytes that the disk holds for all files in some folders."""
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return sum(path.lstat().st_blocks * BLOCK for path in files)
