"""A model's history through files and commits: what is derived is found, small, and exact."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.store.updates import adapted, sparse, trained, weights
from tests.theta.conftest import ADA
from theta.repo import Details, Repo

BASE = {
    "embed.weight": weights(1, 1200, 128),
    "layers.0.mlp.weight": weights(2, 512, 512),
    "layers.0.norm.weight": weights(3, 512),
}


def _save(repo: Repo, path: str, tensors: dict[str, np.ndarray]) -> str:
    (repo.root / path).parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, repo.root / path)
    return hashlib.sha256((repo.root / path).read_bytes()).hexdigest()


def _commit(repo: Repo, message: str, **tensors: np.ndarray) -> int:
    named = dict(BASE) | {name.replace("_", "."): value for name, value in tensors.items()}
    _save(repo, "m.safetensors", named)
    repo.add(["m.safetensors"])
    return repo.commit(message, author=ADA, details=Details(rehash=True)).stored_bytes


def _kept(repo: Repo, address: str) -> set[str]:
    commit, parts = repo.address(address)
    assert parts.param is not None
    kept = repo.store.kept(repo.tensor(commit, parts.file, parts.param))
    return {part.predictor for part in kept}


def test_a_fine_tune_a_merge_of_an_adapter_and_a_trim_cost_little(repo: Repo) -> None:
    size = sum(t.nbytes for t in BASE.values())
    assert _commit(repo, "base") < size
    mlp = BASE["layers.0.mlp.weight"]
    assert _commit(repo, "LoRA", layers_0_mlp_weight=adapted(mlp, 5)) < 0.1 * mlp.nbytes
    assert _kept(repo, "HEAD::layers.0.mlp.weight") == {"low-rank"}
    assert _commit(repo, "sparse", layers_0_mlp_weight=sparse(mlp, 6)) < 0.05 * mlp.nbytes
    rows = BASE["embed.weight"][np.flatnonzero(np.arange(1200) % 7)]
    assert _commit(repo, "trim", embed_weight=rows) < 0.02 * rows.nbytes
    assert _kept(repo, "HEAD::embed.weight") == {"rows"}


def test_a_new_checkpoint_folder_follows_the_one_before(repo: Repo) -> None:
    _save(repo, "checkpoint-100/model.safetensors", BASE)
    repo.add(["checkpoint-*"])
    first = repo.commit("100", author=ADA).stored_bytes
    mlp = BASE["layers.0.mlp.weight"]
    later = BASE | {"layers.0.mlp.weight": trained(mlp, 7)}
    _save(repo, "checkpoint-200/model.safetensors", later)
    second = repo.commit("200", author=ADA).stored_bytes
    assert second < 0.6 * first
    assert _kept(repo, "HEAD:checkpoint-200/model.safetensors::layers.0.mlp.weight") == {"same"}


def test_two_checkpoints_of_one_commit_follow_each_other(repo: Repo) -> None:
    mlp = BASE["layers.0.mlp.weight"]
    _save(repo, "checkpoint-100/model.safetensors", BASE)
    _save(repo, "checkpoint-200/model.safetensors", BASE | {"layers.0.mlp.weight": trained(mlp, 7)})
    repo.add(["checkpoint-*"])
    both = repo.commit("both", author=ADA)
    assert both.stored_bytes < 0.75 * both.logical_bytes
    assert _kept(repo, "HEAD:checkpoint-200/model.safetensors::layers.0.mlp.weight") == {"same"}


def test_an_average_costs_next_to_nothing(repo: Repo) -> None:
    mlp = BASE["layers.0.mlp.weight"]
    _commit(repo, "base")
    repo.switch("rte", create=True)
    _commit(repo, "theirs", layers_0_mlp_weight=trained(mlp, 8))
    repo.switch("main")
    _commit(repo, "ours", layers_0_mlp_weight=trained(mlp, 9))
    plan = repo.plan_merge("rte")
    answer = repo.merge(plan, repo.merge_method(default="average"), author=ADA)
    assert answer.state == "merged"
    assert answer.stored_bytes < 0.002 * mlp.nbytes
    assert _kept(repo, "HEAD::layers.0.mlp.weight") == {"weighted-sum"}


@pytest.mark.parametrize("collect", [False, True])
def test_repack_and_gc_change_no_file(repo: Repo, collect: bool) -> None:
    values = BASE["layers.0.mlp.weight"]
    sums = {}
    for step in range(5):
        values = trained(values, 30 + step)
        _commit(repo, str(step), layers_0_mlp_weight=values)
        path = repo.root / "m.safetensors"
        sums[step] = hashlib.sha256(path.read_bytes()).hexdigest()
    before = repo.sizes().stored_bytes
    report = repo.repack()
    assert report.replaced > 0
    assert repo.sizes().stored_bytes < before
    if collect:
        repo.gc(now=True)
    for step in range(5):
        target = Path(f"{repo.root}-{step}")
        repo.export(f"HEAD~{4 - step}", target)
        data = (target / "m.safetensors").read_bytes()
        assert hashlib.sha256(data).hexdigest() == sums[step]
    assert repo.fsck() == []
    assert repo.repack().replaced == 0
