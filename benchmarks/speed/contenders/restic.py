"""restic: backups in chunks cut by content, with zstd and encryption."""

import subprocess
from pathlib import Path

from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.programs import Programs
from benchmarks.speed.scene import FOLDER, Scene


class Restic(Contender):
    """A commit is a snapshot; a switch restores another snapshot over the files."""

    name = "restic"
    about = "chunks cut by content, zstd, encrypted; switch restores another snapshot"
    program = Path()

    def install(self, programs: Programs) -> None:
        """From Debian."""
        self.program = programs.debian("restic", "restic")

    def version(self) -> str:
        """As it says it."""
        told = subprocess.run([self.program, "version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[1]

    def environment(self, scene: Scene) -> dict[str, str]:
        """Encryption cannot be left out."""
        return {"RESTIC_REPOSITORY": str(scene.store), "RESTIC_PASSWORD": "bench"}

    def set_up(self, scene: Scene) -> Commands:
        """Make a repository of the newer format, which compresses."""
        del scene
        return [self._restic("init", "--repository-version", "2")]

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Snapshots are tagged like the commits."""
        del scene
        if operation in COMMITS:
            return [self._restic("backup", "--quiet", "--tag", operation.name, FOLDER)]
        match operation:
            case Operation.LOG:
                return [self._restic("snapshots")]
            case Operation.SWITCH | Operation.CHECKOUT:
                tag = Operation.LAYER.name
                return [self._restic("restore", "latest", "--tag", tag, "--target", ".")]
            case _:
                return []

    def _restic(self, *words: str) -> list[str]:
        return [str(self.program), *words]
