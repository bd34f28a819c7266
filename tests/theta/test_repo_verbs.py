"""Verbs of the repository on real files: tracking, committing, moving, restoring, exporting."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from theta.repo import Author, Details, Repo
from theta_store.errors import (
    InvalidName,
    MalformedFile,
    NothingToCommit,
    ResourceError,
    UnknownFile,
    UnknownParameter,
    UnknownRevision,
    UnsafePath,
    UnsavedChanges,
    UsageError,
)


def _save(repo: Repo, seed: int, name: str = "model.pt") -> bytes:
    torch.manual_seed(seed)
    torch.save({"w": torch.randn(20, 30), "b": torch.zeros(30)}, repo.root / name)
    return (repo.root / name).read_bytes()


def _committed(repo: Repo, ada: Author, seed: int, message: str = "m") -> bytes:
    data = _save(repo, seed)
    repo.add(["model.pt"])
    repo.commit(message, author=ada)
    return data


def _now(repo: Repo) -> bytes:
    return (repo.root / "model.pt").read_bytes()


def test_status_names_files_and_parameters(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    assert repo.status().clean
    torch.save({"w": torch.ones(20, 30), "c": torch.zeros(2)}, repo.root / "model.pt")
    (repo.root / "new.txt").write_text("x")
    status = repo.status()
    assert [(f.path, f.state) for f in status.files] == [("model.pt", "changed")]
    assert {(p.name, p.change) for p in status.files[0].params} == {
        ("w", "changed"),
        ("b", "removed"),
        ("c", "added"),
    }
    assert status.untracked == ("new.txt",)


def test_an_unchanged_repository_reads_no_file(
    repo: Repo, ada: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import time

    _committed(repo, ada, 1)
    old = time.time() - 100
    os.utime(repo.root / "model.pt", (old, old))
    repo.status()
    monkeypatch.setattr("theta.workspace.snapshot.FileReader", None)
    assert repo.status(untracked=False).clean


def test_folders_and_globs_track_what_appears_later(repo: Repo, ada: Author) -> None:
    (repo.root / "run").mkdir()
    (repo.root / "run" / "a.txt").write_text("a")
    repo.add(["run", "checkpoint-*"])
    repo.commit("one", author=ada)
    (repo.root / "run" / "b.txt").write_text("b")
    (repo.root / "checkpoint-7").mkdir()
    (repo.root / "checkpoint-7" / "c.txt").write_text("c")
    (repo.root / "other.txt").write_text("not tracked")
    done = repo.commit("two", author=ada)
    assert set(repo.entries(done.id)) == {"run/a.txt", "run/b.txt", "checkpoint-7/c.txt"}


def test_thetaignore_leaves_files_out_unless_they_are_named(repo: Repo, ada: Author) -> None:
    (repo.root / ".thetaignore").write_text("*.log\n")
    (repo.root / "a.log").write_text("1")
    (repo.root / "b.log").write_text("2")
    (repo.root / "c.txt").write_text("3")
    repo.add(["."])
    assert set(repo.workspace.tracked_paths({})) == {".thetaignore", "c.txt"}
    repo.add(["a.log"])
    done = repo.commit("m", author=ada)
    assert set(repo.entries(done.id)) == {".thetaignore", "a.log", "c.txt"}


def test_rm_keeps_the_file_unless_told(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    repo.remove(["model.pt"])
    assert repo.status().files[0].state == "deleted"
    repo.commit("gone", author=ada, details=Details())
    assert (repo.root / "model.pt").exists()
    assert repo.entries(repo.head.commit) == {}
    repo.add(["model.pt"])
    repo.commit("back", author=ada)
    repo.remove(["model.pt"], delete=True)
    assert not (repo.root / "model.pt").exists()


def test_rm_delete_never_loses_unsaved_bytes(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    changed = _save(repo, 2)
    with pytest.raises(UnsavedChanges):
        repo.remove(["model.pt"], delete=True)
    assert _now(repo) == changed


def test_nothing_to_commit(repo: Repo, ada: Author) -> None:
    with pytest.raises(NothingToCommit, match="no file is tracked"):
        repo.commit("m", author=ada)
    _committed(repo, ada, 1)
    with pytest.raises(NothingToCommit):
        repo.commit("m", author=ada)
    done = repo.commit("m", author=ada, details=Details(allow_empty=True))
    assert repo.resolve("HEAD") == done.id


def test_commit_by_paths_amend_and_details(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    (repo.root / "a.txt").write_text("a")
    (repo.root / "b.txt").write_text("b")
    repo.add(["a.txt", "b.txt"])
    details = Details(step=5, metrics={"val_loss": 0.5}, meta={"run": "x"})
    done = repo.commit("only a", author=ada, paths=["a.txt"], details=details)
    assert set(repo.entries(done.id)) == {"model.pt", "a.txt"}
    assert repo.resolve("step:5") == repo.resolve("best:val_loss") == done.id
    amended = repo.commit("both", author=ada, details=Details(amend=True))
    assert set(repo.entries(amended.id)) == {"model.pt", "a.txt", "b.txt"}
    assert amended.commit.parents == done.commit.parents


def test_switching_moves_files_and_spares_unsaved_ones(repo: Repo, ada: Author) -> None:
    first = _committed(repo, ada, 1)
    repo.switch("dev", create=True)
    second = _committed(repo, ada, 2)
    repo.switch("main")
    assert _now(repo) == first
    changed = _save(repo, 3)
    with pytest.raises(UnsavedChanges):
        repo.switch("dev")
    assert _now(repo) == changed
    repo.switch("dev", force=True)
    assert _now(repo) == second
    repo.undo()
    assert _now(repo) == changed
    assert repo.head.branch == "refs/heads/main"


def test_an_untracked_file_in_the_way_is_spared(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    repo.switch("dev", create=True)
    (repo.root / "extra.txt").write_text("theirs")
    repo.add(["extra.txt"])
    repo.commit("extra", author=ada)
    repo.switch("main")
    assert not (repo.root / "extra.txt").exists()
    (repo.root / "extra.txt").write_text("mine")
    repo.remove(["extra.txt"])
    with pytest.raises(UnsavedChanges, match=r"extra\.txt"):
        repo.switch("dev")
    repo.switch("dev", force=True)
    assert (repo.root / "extra.txt").read_text() == "theirs"
    repo.undo()
    assert (repo.root / "extra.txt").read_text() == "mine"


def test_restore_from_a_revision_and_its_undo(repo: Repo, ada: Author) -> None:
    first = _committed(repo, ada, 1)
    _committed(repo, ada, 2)
    changed = _save(repo, 3)
    repo.restore(["model.pt"], source="HEAD~1")
    assert _now(repo) == first
    repo.undo()
    assert _now(repo) == changed


def test_export_writes_the_tree_and_single_files(repo: Repo, ada: Author, tmp_path: Path) -> None:
    first = _committed(repo, ada, 1)
    _committed(repo, ada, 2)
    repo.export("HEAD~1", tmp_path / "out")
    assert (tmp_path / "out" / "model.pt").read_bytes() == first
    repo.export("HEAD~1", tmp_path / "old.pt", path="model.pt")
    assert (tmp_path / "old.pt").read_bytes() == first
    with pytest.raises(UnsavedChanges):
        repo.export("HEAD", tmp_path / "old.pt", path="model.pt")
    with pytest.raises(UnsavedChanges):
        repo.export("HEAD", tmp_path / "out")


def test_parameters_are_read_by_name(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    head = repo.resolve("HEAD")
    tensor = repo.tensor(head, None, "w")
    values = np.frombuffer(repo.read_tensor(tensor), "<f4").reshape(tensor.shape)
    assert np.array_equal(values, torch.load(repo.root / "model.pt")["w"].numpy())
    with pytest.raises(UnknownParameter):
        repo.tensor(head, "model.pt", "nope")
    with pytest.raises(UnknownFile):
        repo.tensor(head, "nope.pt", "w")


def test_branches_and_tags(repo: Repo, ada: Author) -> None:
    _committed(repo, ada, 1)
    repo.create_branch("a/b")
    repo.create_tag("v1")
    with pytest.raises(InvalidName):
        repo.create_branch("a/b")
    for bad in ("", "-x", "a..b", "HEAD", "a b", "x.lock", "a~1", "refs/x", "@{1}"):
        with pytest.raises(InvalidName):
            repo.create_branch(bad)
    repo.rename_branch("a/b", "c")
    assert set(repo.branches()) == {"main", "c"}
    repo.delete_branch("c")
    repo.delete_tag("v1")
    with pytest.raises(UnknownRevision):
        repo.resolve("c")
    with pytest.raises(UsageError, match="HEAD is on"):
        repo.delete_branch("main")


def test_paths_outside_the_workspace_are_refused(repo: Repo) -> None:
    for path in ("../x", "/etc/passwd", ".theta/config.toml", "a/../../x"):
        with pytest.raises(UnsafePath):
            repo.add([path])
    with pytest.raises(UnknownFile):
        repo.add(["nothing-here"])


def test_a_damaged_model_stops_the_commit_and_names_the_file(repo: Repo, ada: Author) -> None:
    data = _committed(repo, ada, 1)
    (repo.root / "model.pt").write_bytes(data[:-100])
    with pytest.raises(MalformedFile, match=r"model\.pt"):
        repo.commit("m", author=ada)
    assert len(list(repo.log())) == 1


def test_a_file_that_changes_while_it_is_read(
    repo: Repo, ada: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(repo, 1)
    repo.add(["model.pt"])
    monkeypatch.setattr("theta.formats.reading.FileReader.unchanged", lambda self: False)
    with pytest.raises(ResourceError, match="changed while it was read"):
        repo.commit("m", author=ada)
    assert repo.head.commit is None


def test_links_in_the_workspace_are_never_written_through(
    repo: Repo, ada: Author, tmp_path: Path
) -> None:
    (repo.root / "sub").mkdir()
    (repo.root / "sub" / "a.txt").write_text("a")
    repo.add(["sub"])
    repo.commit("m", author=ada)
    (repo.root / "sub" / "a.txt").unlink()
    (repo.root / "sub").rmdir()
    (tmp_path / "outside").mkdir()
    (repo.root / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePath):
        repo.restore(["sub/a.txt"])
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_whole_model_is_loaded_at_once(repo: Repo, ada: Author) -> None:
    tensors = {"a": np.arange(600_000, dtype=np.float32), "b": np.ones((3, 5), np.float16)}
    tensors |= {"empty": np.empty((0, 4), np.int64), "scalar": np.array(7.0)}
    save_file(tensors, repo.root / "m.safetensors")
    repo.add(["m.safetensors"])
    commit = repo.commit("model", author=ada).id
    params = dict(repo.params(commit, None))
    arrays = repo.read_tensors(params.values())
    assert {n: a.tobytes() for n, a in zip(params, arrays, strict=True)} == {
        name: tensor.tobytes() for name, tensor in tensors.items()
    }
    arrays[0][:] = 0  # each is the caller's own
    assert repo.read_tensor(params["a"]) == tensors["a"].tobytes()


def test_progress_counts_every_byte_of_small_and_large_tensors(repo: Repo, ada: Author) -> None:
    told: list[tuple[str, int]] = []

    class Counting:
        def begin(self, what: str, total: int) -> None:
            told.append((what, 0))

        def advance(self, done: int) -> None:
            told[-1] = (told[-1][0], told[-1][1] + done)

    tensors = {f"s{n}": np.full(100, n, np.float32) for n in range(30)}
    tensors["large"] = np.arange(600_000, dtype=np.float32)
    save_file(tensors, repo.root / "m.safetensors")
    repo.add(["m.safetensors"])
    repo.commit("model", author=ada, progress=Counting())
    (repo.root / "m.safetensors").unlink()
    repo.restore(["m.safetensors"], progress=Counting())
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert [item for item in told if item[1]] == [("reading", size), ("writing", size)]
