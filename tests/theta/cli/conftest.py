"""The command line run in this process, in a folder of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from theta.cli import run
from theta.repo import Repo


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """A folder to type in: ``shell("commit", "-m", "x")`` must exit with 0 unless told."""

    folder: Path
    captured: Callable[[], Any]

    def __call__(self, *words: str, code: int = 0) -> Answer:
        self.captured()
        done = run(words)
        out, err = self.captured()
        assert done == code, f"theta {' '.join(words)}: exit {done}\n{out}\n{err}"
        return Answer(done, out, err)

    def save(self, name: str = "m.safetensors", **values: float | np.ndarray) -> Path:
        """Write a checkpoint with one parameter per keyword; ``__`` in a name stands for a dot."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            key.replace("__", "."): value
            if isinstance(value, np.ndarray)
            else np.full(4, value, np.float32)
            for key, value in values.items()
        }
        save_file(arrays, path)
        return path

    def load(self, name: str = "m.safetensors") -> dict[str, float]:
        """Return the first element of each parameter of a checkpoint."""
        return {k: float(v.ravel()[0]) for k, v in load_file(self.folder / name).items()}

    def commit(self, message: str, *words: str, **values: float | np.ndarray) -> str:
        """Change the model and commit it; return the commit's id."""
        if values:
            self.save(**values)
        return str(self("commit", "-m", message, *words, "--json").json["commit"])

    def repo(self) -> Repo:
        return Repo.open(self.folder)


def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Lend a file system of its own, of so many bytes as ``mount`` spells them."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """An empty repository, the current folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("THETA_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("THETA_AUTHOR", "Ada <ada@example.org>")
    made = Shell(folder, capsys.readouterr)
    made("init")
    return made


@pytest.fixture
def model(shell: Shell) -> Shell:
    """A repository with one commit of ``m.safetensors``: a = 1, b = 2."""
    shell.save(a=1, b=2)
    shell("add", "m.safetensors")
    shell.commit("first")
    return shell
