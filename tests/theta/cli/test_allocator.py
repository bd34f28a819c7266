"""Freed memory is reused by the command line's own process, and nobody else's."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from theta.repo import Repo

# Twenty chunks at a time, freed together, as a transaction of payload does.
FAULTS = """
import resource
from theta.cli.allocator import keep_pages
{set}
def fill():
    return [bytearray(1 << 20) for _ in range(20)]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
DRIVER = """
import sys
from theta.__main__ import main
try:
    main()
finally:
    sys.stderr.write("\\n" + " ".join(sys.modules))
"""
LIBRARY = """
import sys
from pathlib import Path
from theta.repo import Author, Repo
with Repo.open(Path.cwd()) as repo:
    repo.commit("by a program", author=Author("Ada <ada@example.org>"))
print("theta.cli.allocator" in sys.modules)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Repo.init(tmp_path) as repo:
        save_file({"w": np.ones(3, np.float32)}, tmp_path / "m.safetensors")
        repo.add(["m.safetensors"])
    return tmp_path


def python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)


def test_freed_chunks_are_reused(tmp_path: Path) -> None:
    assert python("from theta.cli.allocator import *; print(keep_pages())", tmp_path).stdout == (
        "True\n"
    )
    before = int(python(FAULTS.format(set=""), tmp_path).stdout)
    after = int(python(FAULTS.format(set="keep_pages()"), tmp_path).stdout)
    assert after < before / 4


def test_a_verb_that_moves_tensors_sets_it(folder: Path) -> None:
    assert "theta.cli.allocator" in python(DRIVER, folder, "commit", "-m", "m").stderr.split()


def test_a_light_verb_does_without(folder: Path) -> None:
    modules = python(DRIVER, folder, "branch").stderr.split()
    assert "theta.cli.allocator" not in modules


def test_a_program_that_uses_the_library_is_left_alone(folder: Path) -> None:
    assert python(LIBRARY, folder).stdout == "False\n"
