"""Files that are begun early: one at a time, swept up if a process died, never one at work."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell, shell
from theta.formats.writing import FileWriter
from theta.params import flatten
from theta.repo import Repo
from theta.workspace.draft import TEMPORARY, Draft
from theta_store.ids import CheckpointId

__all__ = ["shell"]


@pytest.fixture
def repo(shell: Shell) -> Iterator[Repo]:
    shell.save(a=np.zeros(100, np.float32), b=np.ones(10, np.float32))
    shell("add", "m.safetensors")
    shell.commit("first")
    with shell.repo() as opened:
        yield opened


def _begun(repo: Repo) -> list[Path]:
    return list(repo.root.rglob(f"{TEMPORARY}*"))


def test_what_a_dead_process_left_is_removed_by_the_next(repo: Repo) -> None:
    layouts = repo.entries(repo.head.commit)
    left = repo.root / f"{TEMPORARY}0123"
    other = repo.root / f"{TEMPORARY}4567"
    for path in (left, other):
        path.write_bytes(b"half a model")
    (repo.private / "draft").write_text(left.name)
    with repo.workspace.drafts() as drafts:
        drafts.begin(layouts, {"m.safetensors": {"a"}})
        assert not left.exists()
        assert len(_begun(repo)) == 2
    assert _begun(repo) == [other]
    assert not (repo.private / "draft").exists()


@pytest.mark.parametrize("name", ["m.safetensors", f"../{TEMPORARY}1", "", f"{TEMPORARY}\0"])
def test_the_note_removes_nothing_else(repo: Repo, name: str) -> None:
    (repo.root.parent / f"{TEMPORARY}1").write_bytes(b"not ours")
    (repo.private / "draft").write_text(name)
    with repo.workspace.drafts() as drafts:
        drafts.begin({}, {})
    assert (repo.root / "m.safetensors").exists()
    assert (repo.root.parent / f"{TEMPORARY}1").exists()


def test_two_at_once_do_not_take_each_others_file(repo: Repo) -> None:
    layouts = repo.entries(repo.head.commit)
    with repo.workspace.drafts() as one, repo.workspace.drafts() as two:
        one.begin(layouts, {"m.safetensors": {"a"}})
        two.begin(layouts, {"m.safetensors": {"a"}})
        assert one.sink("m.safetensors", ["a"]) is not None
        assert two.sink("m.safetensors", ["a"]) is None
        assert len(_begun(repo)) == 1
    assert not _begun(repo)


def test_nothing_is_begun_for_nothing(repo: Repo) -> None:
    layouts = repo.entries(repo.head.commit)
    with repo.workspace.drafts() as drafts:
        drafts.begin(layouts, {"m.safetensors": set()})
        assert not _begun(repo)
        assert drafts.sink("m.safetensors", ["a"]) is None
        drafts.begin(layouts, {"m.safetensors": {"a"}})
        assert drafts.sink("m.safetensors", ["nobody"]) is None
        assert drafts.sink("other", ["a"]) is None
    (repo.root / "m.safetensors").unlink()
    with repo.workspace.drafts() as drafts:
        drafts.begin(layouts, {"m.safetensors": {"a"}})
        assert not _begun(repo)


@pytest.mark.parametrize("said", ["right", "another", "nothing"])
def test_a_begun_file_is_taken_only_for_the_tensors_it_was_given(
    repo: Repo, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[Draft] = []
    finish = Draft.finish
    monkeypatch.setattr(
        Draft, "finish", lambda self, ids: (finish(self, ids), finished.append(self))[0]
    )
    path = repo.root / "m.safetensors"
    expected = path.read_bytes()
    entries = repo.entries(repo.head.commit)
    record = repo.store.checkpoint(CheckpointId(entries["m.safetensors"].id))
    ids = dict(flatten(repo.store, record.params))
    path.write_bytes(b"to be replaced")
    given = np.zeros(100, np.float32) if said == "right" else np.ones(100, np.float32)
    with repo.workspace.drafts() as drafts:
        drafts.begin(entries, {"m.safetensors": {"a"}})
        sink = drafts.sink("m.safetensors", ["a"])
        assert sink is not None
        sink.write(0, memoryview(given).cast("B"))
        if said != "nothing":
            drafts.settle("m.safetensors", ["a"], ids["a" if said == "right" else "b"])
        (draft,) = drafts.by_part.values()
        repo.workspace.write(entries, drafts=drafts)
    assert path.read_bytes() == expected
    assert (draft in finished) == (said == "right")


def _old(path: Path) -> Path:
    path.write_bytes(b"half a model")
    os.utime(path, (1_700_000_000,) * 2)
    return path


def test_what_a_killed_checkout_left_is_removed_by_the_next(shell: Shell) -> None:
    for value in (1, 2):
        shell.save("sub/m.safetensors", a=value)
        shell("add", "sub")
        shell.commit(str(value))
    folder = shell.folder / "sub"
    left, elsewhere = _old(folder / f"{TEMPORARY}1"), _old(shell.folder / f"{TEMPORARY}2")
    young = folder / f"{TEMPORARY}3"
    young.write_bytes(b"just begun")
    other = FileWriter(folder / f"{TEMPORARY}4", 4)
    os.utime(other.path, (1_700_000_000,) * 2)
    shell("switch", "--detach", "HEAD~1")
    assert not left.exists()
    assert young.exists()
    assert elsewhere.exists()
    assert other.path.exists(), "somebody writes it"
    other.close()
    shell("switch", "main")
    assert not other.path.exists()
