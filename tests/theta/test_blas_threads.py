"""A history reads the same in processes whose linear algebra runs on other threads and kernels.

Every predictor that a commit finds has its part in the history; ``low-rank`` multiplies matrices.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.store.updates import adapted, trained, weights
from tests.theta.conftest import ADA
from theta.repo import Repo

SCALES = np.random.default_rng(4).uniform(0.5, 2, (512, 1)).astype(np.float32)


def _steps() -> Iterator[tuple[dict[str, np.ndarray], str, str]]:
    """Yield each commit's tensors, the one that changed, and how the store should keep it."""
    mlp, embed = weights(2, 512, 512), weights(1, 600, 128)
    yield {"mlp": mlp, "embed": embed}, "mlp", "none"
    mlp = trained(mlp, 6)
    yield {"mlp": mlp, "embed": embed}, "mlp", "same"
    mlp = adapted(mlp, 5)
    yield {"mlp": mlp, "embed": embed}, "mlp", "low-rank"
    mlp = mlp * SCALES
    yield {"mlp": mlp, "embed": embed}, "mlp", "rescale"
    half = mlp.astype(np.float16)
    yield {"mlp": half, "embed": embed}, "mlp", "cast"
    yield {"mlp": half, "embed": embed[np.flatnonzero(np.arange(600) % 7)]}, "embed", "rows"


READER = """
import hashlib, json, sys
from pathlib import Path
from threadpoolctl import threadpool_info
from theta.repo import Repo
sums = []
with Repo.open(Path(sys.argv[1])) as repo:
    for step in range(int(sys.argv[2])):
        target = Path(sys.argv[3]) / str(step)
        repo.export(f"HEAD~{step}", target)
        sums.append(hashlib.sha256((target / "m.safetensors").read_bytes()).hexdigest())
blas = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
print(json.dumps([sums, [(pool["num_threads"], pool["architecture"]) for pool in blas]]))
"""


def _commit(repo: Repo, tensors: dict[str, np.ndarray]) -> str:
    path = repo.root / "m.safetensors"
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)
    repo.add([path.name])
    repo.commit("step", author=ADA)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _predictors(repo: Repo, name: str) -> set[str]:
    commit, parts = repo.address(f"HEAD:m.safetensors::{name}")
    assert parts.param is not None
    kept = repo.store.kept(repo.tensor(commit, parts.file, parts.param))
    return {part.predictor for part in kept}


def _read(repo: Repo, steps: int, out: Path, **environment: str) -> tuple[list[str], list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", READER, str(repo.root), str(steps), str(out)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    sums, blas = json.loads(done.stdout)
    return sums, blas


@pytest.mark.parametrize("repacked", [False, True])
def test_other_threads_and_kernels_of_blas_change_no_file(
    repo: Repo, tmp_path: Path, repacked: bool
) -> None:
    wanted = []
    for tensors, changed, predictor in _steps():
        wanted.append(_commit(repo, tensors))
        assert _predictors(repo, changed) == {predictor}
    if repacked:
        assert repo.repack().replaced > 0
        repo.gc(now=True)
    seen = []
    for number, (threads, kernel) in enumerate((("1", "Haswell"), ("3", "SkylakeX"))):
        environment = {"OPENBLAS_NUM_THREADS": threads, "OPENBLAS_CORETYPE": kernel}
        sums, blas = _read(repo, len(wanted), tmp_path / str(number), **environment)
        assert sums == wanted[::-1]
        seen.append(blas)
    if all(seen):
        assert seen[0] != seen[1], "both processes computed in the same way: nothing was tested"
