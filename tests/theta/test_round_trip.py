"""Law 4: commit, delete, restore gives the same bytes; committing them again, the same tree."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.theta.formats import files_torch
from tests.theta.formats.files_safetensors import SPELLINGS, tensors_of, written
from tests.theta.trainer import train
from theta.repo import Author, Repo
from theta_store.errors import NothingToCommit

pytestmark = pytest.mark.filterwarnings("ignore")


def _sums(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".theta" not in path.parts
    }


def _check(repo: Repo, ada: Author) -> dict[str, str]:
    """Commit everything, delete it, restore it; return the kinds of the entries."""
    repo.add(["."])
    done = repo.commit("all", author=ada)
    before = _sums(repo.root)
    assert before
    for path in before:
        (repo.root / path).unlink()
    assert {file.state for file in repo.status().files} == {"deleted"}
    repo.restore(["."])
    assert _sums(repo.root) == before
    with pytest.raises(NothingToCommit):
        repo.commit("again", author=ada)
    assert repo.status(rehash=True).clean
    assert repo.fsck() == []
    return {path: entry.kind for path, entry in repo.entries(done.id).items()}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("name", files_torch.OBJECTS)
def test_torch_files(repo: Repo, ada: Author, name: str, protocol: int) -> None:
    files_torch.save(repo.root / "m.pt", files_torch.OBJECTS[name](), protocol=protocol)
    assert _check(repo, ada) == {"m.pt": "checkpoint"}


def _no_data_record(root: Path) -> None:
    files_torch.save(root / "x.pt", files_torch.state_dict())
    files_torch.rewrite(
        root / "x.pt",
        root / "old.pt",
        lambda entries: {n: d for n, d in entries.items() if not n.startswith(".")},
    )


def _big_endian(root: Path) -> None:
    files_torch.save(root / "x.pt", {"w": torch.randn(300, 40), "t": torch.randn(7, 5).t()})
    files_torch.rewrite(
        root / "x.pt", root / "big.pt", lambda entries: files_torch.as_big_endian(entries, 4)
    )


def _without_checksums(root: Path) -> None:
    files_torch.save_without_checksums(root / "n.pth", files_torch.nested_checkpoint())


@pytest.mark.parametrize("make", [_no_data_record, _big_endian, _without_checksums])
def test_other_torch_writers(repo: Repo, ada: Author, make: Callable[[Path], None]) -> None:
    make(repo.root)
    assert set(_check(repo, ada).values()) == {"checkpoint"}


def test_safetensors_of_every_dtype(repo: Repo, ada: Author) -> None:
    (repo.root / "m.safetensors").write_bytes(written(tensors_of(list(SPELLINGS))))
    assert _check(repo, ada) == {"m.safetensors": "checkpoint"}


def test_plain_files_of_all_sizes(repo: Repo, ada: Author) -> None:
    (repo.root / "empty").write_bytes(b"")
    (repo.root / "deep" / "er").mkdir(parents=True)
    (repo.root / "deep" / "er" / "config.json").write_text('{"a": 1}')
    (repo.root / "large.bin").write_bytes(bytes(range(256)) * 12_345)
    (repo.root / "run.sh").write_text("#!/bin/sh\n")
    (repo.root / "run.sh").chmod(0o755)
    assert set(_check(repo, ada).values()) == {"blob"}
    assert (repo.root / "run.sh").stat().st_mode & 0o100


def _shards(
    root: Path, suffix: str, write: Callable[[dict[str, torch.Tensor], Path], None]
) -> None:
    torch.manual_seed(1)
    tensors = {f"layers.{i}.w": torch.randn(50 + i, 30) for i in range(6)}
    weight_map = {}
    for shard in range(3):
        name = f"model-{shard + 1:05}-of-00003.{suffix}"
        mine = dict(list(tensors.items())[shard::3])
        write(mine, root / name)
        weight_map |= dict.fromkeys(mine, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (root / f"model.{suffix}.index.json").write_text(json.dumps(index, indent=2))


def test_sharded_safetensors_are_one_model(repo: Repo, ada: Author) -> None:
    from safetensors.torch import save_file

    _shards(repo.root, "safetensors", save_file)
    assert _check(repo, ada) == {"model.safetensors.index.json": "checkpoint"}
    head = repo.resolve("HEAD")
    assert len(list(repo.params(head, None))) == 6
    assert len(list(repo.params(head, "model-00002-of-00003.safetensors"))) == 6


def test_sharded_torch_files_are_one_model(repo: Repo, ada: Author) -> None:
    _shards(repo.root, "bin", lambda tensors, path: torch.save(tensors, path))
    assert _check(repo, ada) == {"model.bin.index.json": "checkpoint"}


def test_resharding_stores_next_to_nothing(repo: Repo, ada: Author) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(1)
    tensors = {f"layers.{i}.w": torch.randn(200, 300) for i in range(12)}
    save_file(tensors, repo.root / "model.safetensors")
    repo.add(["."])
    first = repo.commit("one file", author=ada)
    (repo.root / "model.safetensors").unlink()
    weight_map = {}
    for shard in range(4):
        mine = dict(list(tensors.items())[shard::4])
        save_file(mine, repo.root / f"s{shard}.safetensors")
        weight_map |= dict.fromkeys(mine, f"s{shard}.safetensors")
    (repo.root / "m.index.json").write_text(json.dumps({"weight_map": weight_map}))
    second = repo.commit("four files", author=ada)
    assert second.stored_bytes < 0.01 * first.logical_bytes


def test_a_checkpoint_of_the_trainer(repo: Repo, ada: Author, tmp_path: Path) -> None:
    train(tmp_path / "out").rename(repo.root / "checkpoint-2")
    kinds = _check(repo, ada)
    inside = {path.removeprefix("checkpoint-2/"): kind for path, kind in kinds.items()}
    assert inside["model.safetensors"] == inside["optimizer.pt"] == "checkpoint"
    assert inside["rng_state.pth"] == inside["scheduler.pt"] == "checkpoint"
    assert inside["training_args.bin"] == "blob", "it names classes of transformers"
    assert {"config.json", "tokenizer.json", "trainer_state.json"} <= inside.keys()
