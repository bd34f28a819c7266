"""theta by its Python API, without the start of the interpreter."""

import sys
from pathlib import Path

from benchmarks.speed.contenders.base import CALLS, Commands, Contender
from benchmarks.speed.operations import Operation
from benchmarks.speed.scene import FOLDER, Scene
from theta import __version__


def _call(*words: str) -> list[str]:
    return [sys.executable, str(CALLS / "theta_calls.py"), *words]


class ThetaPython(Contender):
    """Every operation opens the repository, does one call and closes it."""

    name = "theta API"
    about = "the Python API, without the start of the interpreter"
    kind = "theta"
    own_clock = True

    def version(self) -> str:
        """The version of this tree."""
        return str(__version__)

    def set_up(self, scene: Scene) -> Commands:
        """Track the folder."""
        del scene
        return [_call("init", FOLDER)]

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """The fine-tune gets a branch."""
        del scene
        return [_call("branch", "tuned")] if operation is Operation.TUNED else []

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """One call."""
        del scene
        match operation:
            case Operation.LOG:
                return [_call("log")]
            case Operation.DIFF:
                return [_call("diff", "main~1", "main")]
            case Operation.SWITCH:
                return [_call("switch", "main")]
            case Operation.CHECKOUT:
                return [_call("restore", FOLDER)]
            case Operation.LOAD:
                return [_call("load", "main")]
            case _:
                return [_call("commit", operation.value)]

    def stores(self, scene: Scene) -> list[Path]:
        """Everything of the repository."""
        return [scene.work / ".theta"]
