"""A sharded model of which some shards changed: the others are neither read nor written again."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from theta.formats.reading import FileReader
from theta.repo import Author, Conversion, Repo
from theta.workspace.draft import Draft
from theta.workspace.writing import CACHE_FILE
from theta_store.errors import UnsavedChanges, UsageError
from theta_store.ids import TensorId

INDEX = "model.safetensors.index.json"
SHARDS = 3
ROWS = 200


def _shard(number: int) -> str:
    return f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"


def _write(folder: Path, number: int, seed: int) -> None:
    """Write a shard, long enough ago to be trusted."""
    values = np.random.default_rng(seed).standard_normal((ROWS, 100), np.float32)
    path = folder / _shard(number)
    save_file({f"layers.{number}.w": values, f"layers.{number}.b": values[0].copy()}, path)
    os.utime(path, (1_700_000_000 + seed,) * 2)


@pytest.fixture
def model(repo: Repo, ada: Author) -> Path:
    placed = {f"layers.{n}.{kind}": _shard(n) for n in range(SHARDS) for kind in "wb"}
    index = repo.root / INDEX
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    os.utime(index, (1_700_000_000,) * 2)
    for number in range(SHARDS):
        _write(repo.root, number, number)
    repo.add([INDEX])
    repo.commit("first", author=ada)
    return repo.root


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the bytes that are read of each file."""
    counted: dict[str, int] = {}
    inner = FileReader.read_into

    def counting(self: FileReader, start: int, out: memoryview) -> None:
        counted[self.path.name] = counted.get(self.path.name, 0) + out.nbytes
        inner(self, start, out)

    monkeypatch.setattr(FileReader, "read_into", counting)
    return counted


def test_only_the_shard_that_changed_is_read(
    repo: Repo, ada: Author, model: Path, read: dict[str, int]
) -> None:
    _write(model, 1, 77)
    made = repo.commit("second", author=ada)
    assert read[_shard(1)] >= ROWS * 400
    assert max(read.get(_shard(n), 0) for n in (0, 2)) < 10_000
    out = model.parent / "out"
    repo.export("HEAD", out)
    for number in range(SHARDS):
        assert (out / _shard(number)).read_bytes() == (model / _shard(number)).read_bytes()
    assert made.stored_bytes < 2 * ROWS * 400


def test_status_reads_no_more(repo: Repo, model: Path, read: dict[str, int]) -> None:
    _write(model, 1, 77)
    (state,) = repo.status().files
    assert {param.name for param in state.params} == {"layers.1.w", "layers.1.b"}
    assert max(read.get(_shard(n), 0) for n in (0, 2)) < 10_000


def test_who_asks_for_the_status_first_reads_no_more(
    repo: Repo, ada: Author, model: Path, read: dict[str, int]
) -> None:
    _write(model, 1, 77)
    for _ in range(2):
        assert len(repo.status().files) == 1
    repo.commit("second", author=ada)
    assert max(read.get(_shard(n), 0) for n in (0, 2)) < 40_000
    read.clear()
    assert repo.status().files == ()
    assert not read


def test_a_model_that_was_looked_at_and_put_back_is_the_old_one(repo: Repo, model: Path) -> None:
    kept = (model / _shard(1)).read_bytes()
    _write(model, 1, 77)
    assert len(repo.status().files) == 1
    (model / _shard(1)).write_bytes(kept)
    assert repo.status().files == ()


def test_the_commit_is_what_it_is_without_the_cache(
    repo: Repo, ada: Author, model: Path, read: dict[str, int]
) -> None:
    _write(model, 1, 77)
    tree = repo.store.commit(repo.commit("second", author=ada).id).tree
    (repo.private / CACHE_FILE).unlink()
    read.clear()
    assert repo.status().files == ()
    assert min(read[_shard(n)] for n in range(SHARDS)) >= ROWS * 400
    assert repo.store.commit(repo.resolve("HEAD")).tree == tree


def test_a_shard_that_is_too_young_is_read(
    repo: Repo, ada: Author, model: Path, read: dict[str, int]
) -> None:
    for number in range(SHARDS):
        _write(model, number, 50 + number)
        os.utime(model / _shard(number))
    repo.commit("second", author=ada)
    read.clear()
    _write(model, 1, 77)
    repo.commit("third", author=ada)
    assert min(read[_shard(n)] for n in range(SHARDS)) >= ROWS * 400


def test_a_shard_that_moved_to_another_number_is_read(repo: Repo, ada: Author, model: Path) -> None:
    (model / _shard(0)).replace(model / "kept")
    (model / _shard(2)).replace(model / _shard(0))
    (model / "kept").replace(model / _shard(2))
    placed = {f"layers.{n}.{kind}": _shard(SHARDS - 1 - n) for n in range(SHARDS) for kind in "wb"}
    (model / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    repo.commit("swapped", author=ada)
    out = model.parent / "out"
    repo.export("HEAD", out)
    for number in range(SHARDS):
        assert load_file(out / _shard(number)).keys() == load_file(model / _shard(number)).keys()
        assert (out / _shard(number)).read_bytes() == (model / _shard(number)).read_bytes()


@pytest.fixture
def retrained(repo: Repo, ada: Author, model: Path) -> Path:
    """On ``other`` shard 1 is another; main, where HEAD is, has the first ones."""
    repo.switch("other", create=True)
    kept = (model / _shard(1)).read_bytes()
    _write(model, 1, 77)
    repo.commit("retrained", author=ada)
    repo.switch("main")
    (model / _shard(1)).write_bytes(kept)
    os.utime(model / _shard(1), (1_700_000_001,) * 2)
    assert repo.status().files == ()
    return model


def _inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir() if path.is_file()}


def test_a_switch_writes_only_the_shards_that_differ(
    repo: Repo, retrained: Path, read: dict[str, int]
) -> None:
    before = _inodes(retrained)
    assert repo.switch("other").written == (_shard(1),)
    after = _inodes(retrained)
    assert {name for name in after if after[name] != before[name]} == {_shard(1)}
    read.clear()
    assert repo.status().files == ()
    assert max(read.get(_shard(n), 0) for n in (0, 2)) < 10_000
    out = retrained.parent / "out"
    repo.export("other", out)
    for number in range(SHARDS):
        assert (out / _shard(number)).read_bytes() == (retrained / _shard(number)).read_bytes()


def test_a_shard_that_is_named_is_restored_alone(repo: Repo, model: Path) -> None:
    first = (model / _shard(1)).read_bytes()
    for number in range(SHARDS):
        _write(model, number, 50 + number)
    mine = {n: (model / _shard(n)).read_bytes() for n in range(SHARDS)}
    assert repo.restore([_shard(1)], dry_run=True).written == (_shard(1),)
    assert repo.restore([_shard(1)]).written == (_shard(1),)
    assert (model / _shard(1)).read_bytes() == first
    assert all((model / _shard(n)).read_bytes() == mine[n] for n in (0, 2))
    (state,) = repo.status().files
    assert {param.name.split(".")[1] for param in state.params} == {"0", "2"}
    repo.undo()
    assert all((model / _shard(n)).read_bytes() == mine[n] for n in range(SHARDS))


def test_a_shard_that_is_as_it_should_be_is_not_restored(repo: Repo, model: Path) -> None:
    _write(model, 0, 50)
    done = repo.restore([_shard(1)])
    assert done.written == ()
    assert not done.undoable


def test_a_model_that_lost_a_shard_is_changed(repo: Repo, model: Path) -> None:
    (model / _shard(2)).unlink()
    states = {file.path: file.state for file in repo.status().files}
    assert states == {INDEX: "changed", _shard(0): "added", _shard(1): "added"}


def test_undo_brings_back_all_files_of_a_model_that_had_lost_one(repo: Repo, model: Path) -> None:
    _write(model, 1, 77)
    mine = {n: (model / _shard(n)).read_bytes() for n in (0, 1)}
    (model / _shard(2)).unlink()
    repo.restore(["."])
    assert (model / _shard(1)).read_bytes() != mine[1]
    assert (model / _shard(2)).is_file()
    repo.undo()
    assert all((model / _shard(n)).read_bytes() == mine[n] for n in mine)
    assert not (model / _shard(2)).is_file()


def test_a_shard_written_since_it_was_looked_at_is_written_again(
    repo: Repo, retrained: Path
) -> None:
    wrong = np.zeros((ROWS, 100), np.float32)
    save_file({"layers.0.w": wrong, "layers.0.b": wrong[0].copy()}, retrained / _shard(0))
    repo.switch("other", force=True)
    assert load_file(retrained / _shard(0))["layers.0.w"].any()


def test_a_shard_that_was_restored_alone_is_undone_and_redone(repo: Repo, model: Path) -> None:
    for number in range(SHARDS):
        _write(model, number, 50 + number)
    mine = (model / _shard(1)).read_bytes()
    repo.restore([_shard(1)])
    restored = (model / _shard(1)).read_bytes()
    for _ in range(2):
        assert repo.undo().written == (_shard(1),)
        assert (model / _shard(1)).read_bytes() == mine
        assert repo.redo().written == (_shard(1),)
        assert (model / _shard(1)).read_bytes() == restored


def test_undo_leaves_a_shard_that_was_put_there_since(repo: Repo, ada: Author, model: Path) -> None:
    old = (model / _shard(2)).read_bytes()
    _write(model, 2, 70)
    repo.commit("second", author=ada)
    _write(model, 1, 60)
    repo.restore([_shard(1)])
    # It is in a commit, but this model with it is in none.
    (model / _shard(2)).write_bytes(old)
    assert repo.undo().kept == (INDEX,)
    assert (model / _shard(2)).read_bytes() == old


def test_a_shard_that_is_written_during_a_switch_is_noticed(
    repo: Repo, retrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Draft.finish

    def meanwhile(self: Draft, ids: Mapping[str, TensorId]) -> object:
        _write(retrained, 2, 99)
        return finish(self, ids)

    monkeypatch.setattr(Draft, "finish", meanwhile)
    repo.switch("other")
    (state,) = repo.status().files
    assert {param.name for param in state.params} == {"layers.2.w", "layers.2.b"}


@pytest.fixture
def cut_short(repo: Repo, ada: Author, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A switch to ``other``, where all shards are new, that ended after the first of them."""
    repo.create_branch("other")
    for number in range(SHARDS):
        _write(model, number, 30 + number)
    repo.commit("second", author=ada)
    finish, done = Draft.finish, []

    def once(self: Draft, ids: Mapping[str, TensorId]) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(self)
        return finish(self, ids)

    with monkeypatch.context() as patched:
        patched.setattr("theta.workspace.draft.LEAST_SETTLED", 0)
        patched.setattr(Draft, "finish", once)
        with pytest.raises(KeyboardInterrupt):
            repo.switch("other")
    assert repo.head.branch == "refs/heads/main"
    return model


@pytest.mark.parametrize("is_remembered", [True, False])
def test_a_switch_that_was_cut_short_goes_on(
    repo: Repo, cut_short: Path, is_remembered: bool
) -> None:
    if not is_remembered:  # It was killed: nobody saved what was written.
        (repo.private / CACHE_FILE).unlink()
    assert len(repo.status().files) == 1
    written = repo.switch("other").written
    if is_remembered:
        assert _shard(0) not in written
    assert repo.status().files == ()


def test_a_switch_that_was_cut_short_goes_back(repo: Repo, cut_short: Path) -> None:
    repo.restore([INDEX])
    assert repo.status().files == ()


def test_a_mixture_with_a_shard_of_nobodys_is_not_overwritten(repo: Repo, cut_short: Path) -> None:
    _write(cut_short, 2, 99)
    with pytest.raises(UnsavedChanges):
        repo.switch("other")


def test_a_shard_is_exported_alone_byte_for_byte(repo: Repo, model: Path, tmp_path: Path) -> None:
    shard = (model / _shard(1)).read_bytes()
    assert repo.export("HEAD", tmp_path / "one.safetensors", path=_shard(1)) == ["one.safetensors"]
    assert (tmp_path / "one.safetensors").read_bytes() == shard
    assert repo.export("HEAD", tmp_path / "out", path=_shard(1), folder=True) == [_shard(1)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [_shard(1)]
    assert (tmp_path / "out" / _shard(1)).read_bytes() == shard
    with pytest.raises(UnsavedChanges):
        repo.export("HEAD", tmp_path / "out", path=_shard(1), folder=True)


def test_the_index_still_stands_for_the_whole_model(
    repo: Repo, model: Path, tmp_path: Path
) -> None:
    assert len(repo.export("HEAD", tmp_path / "out", path=INDEX, folder=True)) == SHARDS + 1


@pytest.mark.parametrize(
    ("target", "conversion"),
    [("one.npz", Conversion()), ("one.safetensors", Conversion(dtype="BF16"))],
)
def test_a_shard_is_not_converted(
    repo: Repo, model: Path, tmp_path: Path, target: str, conversion: Conversion
) -> None:
    with pytest.raises(UsageError, match="one shard of a model"):
        repo.export("HEAD", tmp_path / target, path=_shard(1), conversion=conversion)
    assert not (tmp_path / target).exists()
