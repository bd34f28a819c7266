"""theta by its command line, as whole processes."""

from pathlib import Path

from benchmarks.measured import THETA
from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.operations import Operation
from benchmarks.speed.scene import FOLDER, Scene
from theta import __version__


class ThetaCli(Contender):
    """Every operation is one command; load is for Python alone."""

    name = "theta"
    about = "the command line, whole processes"
    kind = "theta"

    def version(self) -> str:
        """The version of this tree."""
        return str(__version__)

    def set_up(self, scene: Scene) -> Commands:
        """Track the folder."""
        del scene
        return [[THETA, "-q", "init"], [THETA, "-q", "add", FOLDER]]

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """The fine-tune gets a branch."""
        del scene
        return [[THETA, "-q", "switch", "-c", "tuned"]] if operation is Operation.TUNED else []

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """One command."""
        del scene
        match operation:
            case Operation.LOG:
                return [[THETA, "log"]]
            case Operation.DIFF:
                return [[THETA, "diff", "main~1", "main"]]
            case Operation.SWITCH:
                return [[THETA, "-q", "switch", "main"]]
            case Operation.CHECKOUT:
                return [[THETA, "-q", "restore", FOLDER]]
            case Operation.LOAD:
                return []
            case _:
                return [[THETA, "-q", "commit", "--allow-empty", "-m", operation.value]]

    def stores(self, scene: Scene) -> list[Path]:
        """Everything of the repository."""
        return [scene.work / ".theta"]
