"""What every program that is measured is: commands for each operation.

Owns these shapes. Must not know any program.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.speed.operations import Operation
from benchmarks.speed.programs import Programs
from benchmarks.speed.scene import Scene

Commands = Sequence[Sequence[str]]
CALLS = Path(__file__).parents[1] / "calls"


class Contender(ABC):
    """A program. Commands run in the work tree, one after another."""

    name: ClassVar[str]
    about: ClassVar[str]
    kind: ClassVar[Literal["limit", "peer", "theta"]] = "peer"
    # True: the last line of the output is the seconds, without the start of the interpreter.
    own_clock: ClassVar[bool] = False

    def install(self, programs: Programs) -> None:
        """Make sure that the program is there; raises `Failed`."""
        del programs

    def environment(self, scene: Scene) -> dict[str, str]:
        """Return what its commands need beside the scene's own."""
        del scene
        return {}

    @abstractmethod
    def version(self) -> str:
        """Return the version; after `install`."""

    def set_up(self, scene: Scene) -> Commands:
        """Make an empty repository. The files of the first commit are in the work tree."""
        del scene
        return []

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """Return what comes before the clock starts."""
        del operation, scene
        return []

    @abstractmethod
    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Return the operation itself; nothing where the program has no such operation."""

    def stores(self, scene: Scene) -> list[Path]:
        """Return the folders whose bytes count."""
        return [scene.store]
