"""git-theta: one object per parameter, by git filters."""

from pathlib import Path

from benchmarks.speed.contenders.base import Commands
from benchmarks.speed.contenders.in_git import InGit
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.programs import Programs, before_path
from benchmarks.speed.scene import FOLDER, Scene

PACKAGE = "git-theta==0.2.0"
# What it forgets to ask for, its reader of safetensors, and a torch of this machine.
BESIDE = ("safetensors", "colorama", "prompt_toolkit", "torch==2.13.0")


class GitTheta(InGit):
    """The newest release; it needs git-lfs as well."""

    name = "git-theta"
    about = "one object per parameter; diff names the changed ones"
    programs: tuple[Path, ...] = ()

    def install(self, programs: Programs) -> None:
        """From PyPI, beside git-lfs."""
        lfs = programs.debian("git-lfs", "git-lfs")
        self.programs = (programs.python("git-theta", PACKAGE, *BESIDE), lfs.parent)

    def version(self) -> str:
        """As pip pinned it."""
        return PACKAGE.split("==")[1]

    def environment(self, scene: Scene) -> dict[str, str]:
        """Git finds its filters by the path; the type of checkpoint is told so."""
        del scene
        return {**before_path(*self.programs), "GIT_THETA_CHECKPOINT_TYPE": "safetensors"}

    def set_up(self, scene: Scene) -> Commands:
        """Track the files."""
        return [
            *super().set_up(scene),
            ["git", "lfs", "install", "--local"],
            ["git", "theta", "install"],
            ["git", "theta", "track", f"{FOLDER}/*.safetensors"],
        ]

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """Files are added by its own verb; diff is git's, with its driver."""
        if operation in COMMITS:
            added = [["git", "theta", "add", path] for path in scene.paths]
            return [*added, self.commit(operation)]
        if operation is Operation.DIFF:
            return [["git", "diff", "main~1", "main", "--", FOLDER]]
        return super().timed(operation, scene)
