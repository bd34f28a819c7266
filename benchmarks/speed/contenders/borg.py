"""borg: backups in chunks cut by content, with lz4."""

import subprocess
from pathlib import Path

from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.programs import Programs
from benchmarks.speed.scene import FOLDER, Scene

# What its package needs beside the libraries that Debian has in any case.
PACKAGES = ("borgbackup", "python3-msgpack", "python3-packaging", "python3-pkg-resources")


class Borg(Contender):
    """A commit is an archive; a switch restores another archive over the files."""

    name = "borg"
    about = "chunks cut by content, lz4, no encryption; switch restores another archive"
    program = Path()

    def install(self, programs: Programs) -> None:
        """From Debian."""
        self.program = programs.debian("borg", *PACKAGES)

    def version(self) -> str:
        """As it says it."""
        told = [str(self.program), "--version"]
        done = subprocess.run(
            told, capture_output=True, text=True, check=True, env=self._libraries()
        )
        return done.stdout.split()[-1]

    def environment(self, scene: Scene) -> dict[str, str]:
        """It asks no questions."""
        del scene
        return {**self._libraries(), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def _libraries(self) -> dict[str, str]:
        unpacked = self.program.parents[1] / "lib/python3/dist-packages"
        return {"PYTHONPATH": str(unpacked)}

    def set_up(self, scene: Scene) -> Commands:
        """Make a repository without encryption."""
        return [self._borg("init", "--encryption", "none", str(scene.store))]

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Archives are named like the commits."""
        if operation in COMMITS:
            return [self._borg("create", f"{scene.store}::{operation.name}", FOLDER)]
        match operation:
            case Operation.LOG:
                return [self._borg("list", str(scene.store))]
            case Operation.SWITCH | Operation.CHECKOUT:
                return [self._borg("extract", f"{scene.store}::{Operation.LAYER.name}")]
            case _:
                return []

    def _borg(self, *words: str) -> list[str]:
        return [str(self.program), *words]
