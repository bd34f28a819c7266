"""DVC: whole files or folders in a cache beside git."""

import subprocess
from pathlib import Path

from benchmarks.speed.contenders.base import Commands
from benchmarks.speed.contenders.in_git import InGit
from benchmarks.speed.operations import COMMITS, Operation
from benchmarks.speed.programs import Programs, before_path
from benchmarks.speed.scene import FOLDER, Scene


class Dvc(InGit):
    """Tracks the folder."""

    name = "DVC"
    about = "whole files, by MD5"
    programs = Path()

    def install(self, programs: Programs) -> None:
        """From PyPI."""
        self.programs = programs.python("dvc", "dvc")

    def version(self) -> str:
        """As it says it."""
        told = [self.programs / "dvc", "--version"]
        return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()

    def environment(self, scene: Scene) -> dict[str, str]:
        """Nothing is sent anywhere."""
        del scene
        return {**before_path(self.programs), "DVC_NO_ANALYTICS": "1"}

    def set_up(self, scene: Scene) -> Commands:
        """Make it ask for no updates."""
        return [
            *super().set_up(scene),
            ["dvc", "init", "--quiet"],
            ["dvc", "config", "core.analytics", "false"],
            ["dvc", "config", "core.check_update", "false"],
        ]

    def timed(self, operation: Operation, scene: Scene) -> Commands:
        """DVC does the files, git does the pointers."""
        if operation in COMMITS:
            return [["dvc", "add", "--quiet", FOLDER], *super().timed(operation, scene)]
        match operation:
            case Operation.SWITCH:
                return [*super().timed(operation, scene), ["dvc", "checkout", "--quiet"]]
            case Operation.CHECKOUT:
                return [["dvc", "checkout", "--quiet"]]
            case _:
                return super().timed(operation, scene)

    def stores(self, scene: Scene) -> list[Path]:
        """The cache and git."""
        return [scene.work / ".dvc", scene.work / ".git"]
