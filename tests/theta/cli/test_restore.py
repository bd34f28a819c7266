"""``theta restore``: files, and single parameters of another revision put into them."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.theta.cli.conftest import Shell
from theta.formats.layout import decode_layout
from theta_store.errors import UsageError
from theta_store.ids import CheckpointId


@pytest.fixture
def two(model: Shell) -> Shell:
    """Branch ``other`` has a = 10, b = 20; main, where HEAD is, a = 1, b = 2."""
    model("switch", "-c", "other")
    model.commit("theirs", a=10, b=20)
    model("switch", "main")
    return model


def test_one_parameter_of_another_branch_goes_into_the_working_file(two: Shell) -> None:
    two.save(a=5, b=6)
    told = two("restore", "--source", "other", "-p", "b", "m.safetensors").err
    assert two.load() == {"a": 5, "b": 20}
    assert "1 parameter of other" in told
    assert "theta undo" in told
    two("undo")
    assert two.load() == {"a": 5, "b": 6}
    assert two("status", "--json").json["files"][0]["params"] == [
        {"name": "a", "change": "changed"},
        {"name": "b", "change": "changed"},
    ]


def test_undo_of_a_restore_of_a_clean_file_takes_back_the_restore(two: Shell) -> None:
    two("restore", "--source", "other", "m.safetensors")
    assert two.load() == {"a": 10, "b": 20}
    two("undo")
    assert two.load() == {"a": 1, "b": 2}
    with two.repo() as repo:
        assert len(list(repo.log())) == 1


def test_undo_of_a_restore_leaves_other_files_alone(two: Shell) -> None:
    (two.folder / "note.txt").write_text("one")
    two("add", "note.txt")
    two("commit", "-m", "note")
    two("restore", "--source", "other", "-p", "a", "m.safetensors")
    (two.folder / "note.txt").write_text("two")
    two("commit", "--branch", "elsewhere", "-m", "the note is stored now")
    two("undo")
    two("undo")
    assert two.load() == {"a": 1, "b": 2}
    assert (two.folder / "note.txt").read_text() == "two"


def test_the_file_is_otherwise_the_same_byte_for_byte(two: Shell) -> None:
    state = {"enc.w": torch.randn(30, 40).t(), "enc.b": torch.zeros(40), "head": torch.ones(3)}
    torch.save({"state": state, "epoch": 3}, two.folder / "x.pt")
    two("add", "x.pt")
    two("commit", "-m", "pt")
    old = (two.folder / "x.pt").read_bytes()
    changed = {**state, "enc.w": torch.randn(30, 40).t(), "enc.b": torch.ones(40)}
    torch.save({"state": changed, "epoch": 4}, two.folder / "x.pt")
    two("restore", "-p", "*enc*", "x.pt")
    got = torch.load(two.folder / "x.pt", weights_only=True)
    assert got["epoch"] == 4
    assert torch.equal(got["state"]["enc.w"], state["enc.w"])
    assert torch.equal(got["state"]["enc.b"], state["enc.b"])
    with two.repo() as repo:
        entries = repo.entries(repo.resolve("HEAD"))
        hashing = repo.store.hashing()
        known, read = (
            repo.workspace.present(entries, hashing, storing=False, rehash=rehash).entries["x.pt"]
            for rehash in (False, True)
        )
        assert known == read, "what was written is read as what was composed"
    two("restore", "x.pt")
    assert (two.folder / "x.pt").read_bytes() == old


def test_nothing_to_replace_is_no_operation(two: Shell) -> None:
    count = len(two("op", "log", "--json").json["operations"])
    two("restore", "-p", "a", "m.safetensors")
    assert len(two("op", "log", "--json").json["operations"]) == count


def test_all_that_does_not_fit_is_named_and_nothing_is_changed(two: Shell) -> None:
    small = torch.zeros(2)
    state = {"a": small, "b": torch.zeros(4, dtype=torch.float16)}
    save_file(state, two.folder / "m.safetensors")
    before = (two.folder / "m.safetensors").read_bytes()
    error = two("restore", "--source", "other", "-p", "*", "m.safetensors", code=2).err
    assert "a is F32 2 there, not F32 4" in error
    assert "b is F16 4 there, not F32 4" in error
    save_file({"a": torch.zeros(4)}, two.folder / "m.safetensors")
    error = two("restore", "--source", "other", "-p", "{a,b}", "m.safetensors", code=2).err
    assert "b is not in it" in error
    two("restore", "--source", "other", "-p", "a", "m.safetensors")
    assert two.load() == {"a": 10}
    assert before != (two.folder / "m.safetensors").read_bytes()


def test_parameters_that_are_tied_here_must_stay_equal(two: Shell) -> None:
    def save(embed: float, head: float | None) -> None:
        one = torch.full((3,), embed)
        two_ = one if head is None else torch.full((3,), head)
        torch.save({"embed": one, "head": two_, "x": torch.zeros(1)}, two.folder / "t.pt")

    save(1, 2)
    two("add", "t.pt")
    two("commit", "-m", "apart")
    save(5, None)
    two("commit", "-m", "tied")
    save(6, None)
    error = two("restore", "-s", "HEAD~1", "-p", "head", "t.pt", code=2).err
    assert "tied" in error
    two("restore", "-p", "{embed,head}", "t.pt")
    got = torch.load(two.folder / "t.pt", weights_only=True)
    assert got["embed"][0] == got["head"][0] == 5
    assert got["embed"].data_ptr() == got["head"].data_ptr()


def test_a_sharded_model_takes_parameters(two: Shell) -> None:
    def save(value: float) -> None:
        two.save("big/s1.safetensors", a=value)
        two.save("big/s2.safetensors", b=value)

    index = '{"metadata": {}, "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}'
    save(1)
    (two.folder / "big" / "m.safetensors.index.json").write_text(index)
    two("add", "big")
    two("commit", "-m", "sharded")
    save(2)
    two("restore", "-p", "b", "big")
    assert two.load("big/s1.safetensors") == {"a": 2}
    assert two.load("big/s2.safetensors") == {"b": 1}


def test_names_that_are_not_there(two: Shell) -> None:
    (two.folder / "note.txt").write_text("x")
    two("add", "note.txt")
    two("commit", "-m", "note")
    two("restore", "-p", "nope*", "m.safetensors", code=4)
    two("restore", "-p", "a", "note.txt", code=4)
    two("restore", "-p", "a", "nothing", code=4)
    two("restore", "-p", "a", code=2)
    (two.folder / "m.safetensors").unlink()
    error = two("restore", "-p", "a", "m.safetensors", code=4).err
    assert "not here" in error
    two("restore", "m.safetensors")
    assert two.load() == {"a": 1, "b": 2}


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(two: Shell) -> None:
    two.save(a=5, b=6)
    before = (two.folder / "m.safetensors").read_bytes()
    with two.repo() as repo:
        sizes = repo.sizes()
    out = two("restore", "--source", "other", "-p", "b", "m.safetensors", "--dry-run").out
    assert out == "would restore m.safetensors::b\n"
    out = two("restore", "m.safetensors", "--dry-run").out
    assert out == "would restore m.safetensors\n"
    out = two("checkout", "other", "--dry-run", "--", "m.safetensors").out
    assert out == "would restore m.safetensors\n"
    two("restore", "--source", "other", "-p", "nope", "m.safetensors", "--dry-run", code=4)
    assert (two.folder / "m.safetensors").read_bytes() == before
    with two.repo() as repo:
        assert repo.sizes() == sizes


def test_from_python(two: Shell) -> None:
    with two.repo() as repo:
        done = repo.restore(["m.safetensors"], source="other", params=["a", "b"])
        assert done.params == ("m.safetensors::a", "m.safetensors::b")
        assert done.written == ("m.safetensors",)
        assert done.undoable
        head = repo.entries(repo.resolve("other"))["m.safetensors"]
        record = repo.store.checkpoint(CheckpointId(head.id))
        assert decode_layout(repo.store.read_bytes(record.files[0].layout)).size
        two.save(a=np.zeros(1, np.float32), b=1)
        with pytest.raises(UsageError):
            repo.restore(["m.safetensors"], source="other", params=["a"])


def test_redo_writes_again_what_undo_took_back(two: Shell) -> None:
    two.save(a=5, b=6)
    two("restore", "--source", "other", "-p", "b", "m.safetensors")
    two("restore", "--source", "other", "m.safetensors")
    for _ in range(2):
        two("undo")
        assert two.load() == {"a": 5, "b": 20}
        two("undo")
        assert two.load() == {"a": 5, "b": 6}
        two("redo")
        assert two.load() == {"a": 5, "b": 20}
        two("redo")
        assert two.load() == {"a": 10, "b": 20}


def test_redo_leaves_what_was_changed_since(two: Shell) -> None:
    two("restore", "--source", "other", "-p", "b", "m.safetensors")
    two("undo")
    two.save(a=7, b=8)
    assert "m.safetensors" in two("redo").err
    assert two.load() == {"a": 7, "b": 8}


def test_undo_of_a_redo_brings_back_what_force_overwrote(two: Shell) -> None:
    two.save(a=5, b=6)
    two("reset", "--hard", "other")
    for verb, value in [("undo", 5), ("redo", 10), ("undo", 5), ("redo", 10), ("undo", 5)]:
        two(verb)
        assert two.load()["a"] == value


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_who_may_read_a_file_may_read_its_other_versions_and_nobody_else(
    model: Shell, mode: int
) -> None:
    path = model.folder / "m.safetensors"
    model.commit("second", a=3)
    path.chmod(mode)
    model("switch", "--detach", "HEAD~1")
    assert path.stat().st_mode & 0o777 == mode


def test_a_private_script_stays_private(shell: Shell) -> None:
    path = shell.folder / "run.sh"
    path.write_text("one")
    path.chmod(0o700)
    shell("add", "run.sh")
    shell.commit("first")
    path.write_text("two")
    shell("restore", "run.sh")
    assert path.read_text() == "one"
    assert path.stat().st_mode & 0o777 == 0o700
