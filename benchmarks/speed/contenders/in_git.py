"""What the programs share that live inside a git repository.

Owns the repository, commits, branches and the log. Must not know which program is inside.
"""

from pathlib import Path

from benchmarks.speed.contenders.base import Commands, Contender
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.scene import FOLDER, Scene


class InGit(Contender):
    """Commits by ``git add`` and ``git commit``; a subclass tells git what to do with files."""

    def set_up(self, scene: Scene) -> Commands:
        """Make a repository with a user."""
        del scene
        return [
            ["git", "init", "--quiet", "--initial-branch", "main"],
            ["git", "config", "user.name", "Bench"],
            ["git", "config", "user.email", "bench@example.org"],
        ]

    def before(self, operation: Operation, scene: Scene) -> Commands:
        """The fine-tune gets a branch."""
        del scene
        return [["git", "checkout", "-q", "-b", "tuned"]] if operation is Operation.TUNED else []

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Git does it all, by its filters."""
        del scene
        if operation in COMMITS:
            return [["git", "add", "--all"], self.commit(operation)]
        match operation:
            case Operation.LOG:
                return [["git", "log"]]
            case Operation.SWITCH:
                return [["git", "checkout", "-q", "main"]]
            case Operation.CHECKOUT:
                return [["git", "checkout", "--", FOLDER]]
            case _:
                return []

    def commit(self, operation: Operation) -> list[str]:
        """Return the commit of what is staged."""
        return ["git", "commit", "-q", "--allow-empty", "-m", operation.value]

    def stores(self, scene: Scene) -> list[Path]:
        """Everything of the repository; git gc is not run."""
        return [scene.work / ".git"]
