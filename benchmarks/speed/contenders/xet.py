"""hf_xet: the client of Hugging Face's storage, against a store in a local folder."""

from pathlib import Path

from benchmarks.speed.contenders.base import CALLS, Commands, Contender
from benchmarks.speed.contenders.installed import version_of
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.programs import Programs
from benchmarks.speed.scene import Scene


class Xet(Contender):
    """It keeps files and has no commits: a commit here is an upload, a switch a download."""

    name = "hf_xet"
    about = "chunks cut by content; uploads to and downloads from a local folder, no history"
    own_clock = True
    programs = Path()

    def install(self, programs: Programs) -> None:
        """From PyPI."""
        self.programs = programs.python("hf_xet", "hf_xet")

    def version(self) -> str:
        """As its environment has it."""
        return version_of(self.programs, "hf_xet")

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """What an upload returned is kept in the home, named like the commit."""
        script, store = str(CALLS / "xet_calls.py"), str(scene.store)
        python = str(self.programs / "python")
        if operation in COMMITS:
            kept = str(scene.home / f"{operation.name}.json")
            return [[python, script, "upload", store, kept, *scene.paths]]
        if operation in (Operation.SWITCH, Operation.CHECKOUT):
            kept = str(scene.home / f"{Operation.LAYER.name}.json")
            return [[python, script, "download", store, kept]]
        return []
