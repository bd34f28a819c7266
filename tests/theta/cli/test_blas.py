"""A command's linear algebra stays in the threads that theta starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from theta.repo import Repo

DRIVER = """
import json, sys
from theta.cli import run
code = run(sys.argv[1:])
from threadpoolctl import threadpool_info
print(json.dumps([p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]))
sys.exit(code)
"""


def threads(folder: Path, **environment: str) -> list[int]:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "-q", "commit", "-m", "m"],
        cwd=folder,
        env=env | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[int] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_commit_starts_no_threads_for_linear_algebra(tmp_path: Path) -> None:
    with Repo.init(tmp_path) as repo:
        save_file({"w": np.ones(3, np.float32)}, tmp_path / "m.safetensors")
        repo.add(["m.safetensors"])
    assert set(threads(tmp_path)) <= {1}
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "m.safetensors")
    wanted = min(2, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 2
    assert set(threads(tmp_path, OPENBLAS_NUM_THREADS="2")) <= {wanted}
