"""Oxen: whole files, by its Python package."""

from pathlib import Path

from benchmarks.speed.contenders.base import CALLS, Commands, Contender
from benchmarks.speed.contenders.installed import version_of
from benchmarks.speed.operations import Operation
from benchmarks.speed.programs import Programs
from benchmarks.speed.scene import FOLDER, Scene


class Oxen(Contender):
    """The package has no command, so it is timed like theta's API."""

    name = "Oxen"
    about = "whole files, by its Python API, without the start of the interpreter"
    own_clock = True
    programs = Path()

    def install(self, programs: Programs) -> None:
        """From PyPI."""
        self.programs = programs.python("oxen", "oxenai")

    def version(self) -> str:
        """As its environment has it."""
        return version_of(self.programs, "oxenai")

    def set_up(self, scene: Scene) -> Commands:
        """Make a repository with a user."""
        del scene
        return [self._call("init")]

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """The fine-tune gets a branch."""
        del scene
        return [self._call("branch", "tuned")] if operation is Operation.TUNED else []

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """One call, or add and commit."""
        del scene
        match operation:
            case Operation.LOG:
                return [self._call("log")]
            case Operation.SWITCH:
                return [self._call("switch", "main")]
            case Operation.CHECKOUT:
                return [self._call("restore", FOLDER)]
            case Operation.DIFF | Operation.LOAD:
                return []
            case _:
                return [self._call("commit", FOLDER, operation.value)]

    def stores(self, scene: Scene) -> list[Path]:
        """Everything of the repository."""
        return [scene.work / ".oxen"]

    def _call(self, *words: str) -> list[str]:
        return [str(self.programs / "python"), str(CALLS / "oxen_calls.py"), *words]
