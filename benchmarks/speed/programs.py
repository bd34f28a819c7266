"""The peers' programs, each installed on first use in a folder of its own.

Owns where they lie and how they get there: from PyPI into an environment, from Debian unpacked
without being installed. Must not know what they do. Needs the network only for what is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.process import Failed

DONE = ".installed"


@dataclass(frozen=True)
class Programs:
    """A folder with one folder for each peer."""

    folder: Path

    def python(self, name: str, *packages: str) -> Path:
        """Return the folder of programs of an environment with some packages of PyPI."""
        place = self.folder / name
        if not (place / DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(place)], self.folder)
            _run([str(place / "bin/pip"), "install", "--quiet", *packages], self.folder)
            (place / DONE).touch()
        return place / "bin"

    def debian(self, program: str, *packages: str) -> Path:
        """Return where a program of a Debian package lies: on the path, else unpacked here."""
        found = shutil.which(program)
        if found is not None:
            return Path(found)
        place = self.folder / program
        if not (place / DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            self._unpack(place, packages)
            (place / DONE).touch()
        return place / "usr/bin" / program

    def _unpack(self, place: Path, packages: Sequence[str]) -> None:
        if shutil.which("apt-get") is None:
            raise Failed(f"{packages[0]} is neither on the path nor can Debian's be had here")
        with tempfile.TemporaryDirectory() as name:
            try:
                _run(["apt-get", "download", *packages], Path(name))
            except Failed:
                _run(["apt-get", "update"], Path(name))
                _run(["apt-get", "download", *packages], Path(name))
            for package in sorted(Path(name).glob("*.deb")):
                _run(["dpkg", "-x", str(package), str(place)], Path(name))


def before_path(*folders: Path) -> dict[str, str]:
    """Return the part of an environment that finds programs in these folders first."""
    return {"PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]])}


def _run(command: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Failed(f"{' '.join(command[:3])} failed: {' '.join(said)}")
