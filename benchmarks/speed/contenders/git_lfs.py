"""git-lfs: whole files beside git."""

import subprocess
from pathlib import Path

from benchmarks.speed.contenders.base import Commands
from benchmarks.speed.contenders.in_git import InGit
from benchmarks.speed.programs import Programs, before_path
from benchmarks.speed.scene import FOLDER, Scene


class GitLfs(InGit):
    """Tracks every safetensors file."""

    name = "git-lfs"
    about = "whole files, by SHA-256"
    program = Path()

    def install(self, programs: Programs) -> None:
        """From Debian."""
        self.program = programs.debian("git-lfs", "git-lfs")

    def version(self) -> str:
        """As it says it."""
        told = subprocess.run([self.program, "version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[0].removeprefix("git-lfs/")

    def environment(self, scene: Scene) -> dict[str, str]:
        """Git finds it by the path."""
        del scene
        return before_path(self.program.parent)

    def set_up(self, scene: Scene) -> Commands:
        """Track the files."""
        return [
            *super().set_up(scene),
            ["git", "lfs", "install", "--local"],
            ["git", "lfs", "track", f"{FOLDER}/*.safetensors"],
        ]
