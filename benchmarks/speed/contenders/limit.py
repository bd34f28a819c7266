"""The limits: what a copy of the files takes, and what reading and hashing them takes.

Owns ``cp`` with fsync, ``sha256sum``, and a plain read into memory.
"""

import sys
from pathlib import Path

from benchmarks.speed.contenders.base import CALLS, Commands, Contender
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.scene import FOLDER, Scene

COPY = 'cp --reflink=never "$1"/* "$2" && sync "$2"/*'


class Copy(Contender):
    """What no program that keeps the bytes can go far below, unless it keeps fewer."""

    name = "cp + fsync"
    about = "copies the files, then fsync"
    kind = "limit"

    def version(self) -> str:
        """Nothing to tell."""
        return ""

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """A copy goes to an empty folder."""
        if operation in (Operation.FIRST, Operation.LAYER, Operation.TUNED):
            return [["sh", "-c", 'rm -rf "$1" && mkdir "$1"', "sh", str(scene.store)]]
        if operation is Operation.SWITCH:
            layer = str(scene.sources["layer"])
            return [["sh", "-c", 'cp "$1"/* "$2"', "sh", layer, str(scene.store)]]
        return []

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Copy what is committed, or what is checked out."""
        match operation:
            case Operation.FIRST | Operation.LAYER | Operation.TUNED:
                return [["sh", "-c", COPY, "sh", FOLDER, str(scene.store)]]
            case Operation.SWITCH | Operation.CHECKOUT:
                return [["sh", "-c", COPY, "sh", str(scene.store), FOLDER]]
            case _:
                return []

    def stores(self, scene: Scene) -> list[Path]:
        """One copy is no history."""
        del scene
        return []


class Read(Contender):
    """A plain read of the files into buffers of this process."""

    name = "read"
    about = "reads the files into memory"
    kind = "limit"
    own_clock = True

    def version(self) -> str:
        """Nothing to tell."""
        return ""

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Read what is loaded."""
        if operation is not Operation.LOAD:
            return []
        return [[sys.executable, str(CALLS / "read_calls.py"), *scene.paths]]

    def stores(self, scene: Scene) -> list[Path]:
        """Nothing is kept."""
        del scene
        return []


class Hash(Contender):
    """What a program that reads and hashes every byte takes at least."""

    name = "sha256sum"
    about = "reads and hashes the files"
    kind = "limit"

    def version(self) -> str:
        """Nothing to tell."""
        return ""

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Hash what is committed."""
        return [["sha256sum", *scene.paths]] if operation in COMMITS else []

    def stores(self, scene: Scene) -> list[Path]:
        """Nothing is kept."""
        del scene
        return []
