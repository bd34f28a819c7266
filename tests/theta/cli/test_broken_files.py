"""Files that a crash, or a stranger, left in the workspace: told of, never in the way."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.theta.cli.conftest import Shell, model, shell

__all__ = ["model", "shell"]

NAME = "m.safetensors"
BREAKS = {
    "truncated": lambda data: data[:60],
    "empty": lambda _: b"",
    "garbage": lambda data: b"\xff" * len(data),
}


@pytest.fixture(params=BREAKS)
def broken(model: Shell, request: pytest.FixtureRequest) -> tuple[Shell, bytes, bytes]:
    """A repository with two branches whose model was damaged; the bytes before and since."""
    model("branch", "other")
    model.commit("second", a=5)
    path = model.folder / NAME
    whole = path.read_bytes()
    path.write_bytes(BREAKS[request.param](whole))
    return model, whole, path.read_bytes()


Broken = tuple[Shell, bytes, bytes]


def test_status_and_diff_tell_of_it(broken: Broken) -> None:
    shell = broken[0]
    told = shell("status", "--json").json
    assert [(file["path"], file["state"]) for file in told["files"]] == [(NAME, "changed")]
    (warning,) = told["warnings"]
    assert NAME in warning
    assert warning.endswith("it cannot be committed as it is")
    assert warning.count(NAME) == 1
    shell("diff")
    # Once more: what is broken is not remembered as a plain file.
    assert shell("status", "--json").json == told


def test_a_commit_refuses_it_and_says_what_helps(broken: Broken) -> None:
    shell = broken[0]
    before = shell("log", "--json").out
    shell("status")
    told = shell("commit", "-am", "x", code=9).err
    assert f"theta restore {NAME}" in told
    assert f"theta rm {NAME}" in told
    assert shell("log", "--json").out == before


@pytest.mark.parametrize("words", [("restore", NAME), ("restore", "."), ("reset", "--hard")])
def test_the_last_one_comes_back_and_undo_brings_the_damaged_one(
    broken: Broken, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is written is trusted at once.
    monkeypatch.setattr("theta.workspace.draft.LEAST_SETTLED", 0)
    shell, whole, damaged = broken
    shell(*words)
    assert (shell.folder / NAME).read_bytes() == whole
    shell("undo")
    assert (shell.folder / NAME).read_bytes() == damaged
    for _ in range(2):
        assert shell("status", "--json").json["warnings"]
    shell("commit", "-am", "x", code=9)
    shell("redo")
    assert (shell.folder / NAME).read_bytes() == whole


def test_a_switch_asks_before_it_is_overwritten(broken: Broken) -> None:
    shell, _, damaged = broken
    assert NAME in shell("switch", "other", code=9).err
    assert (shell.folder / NAME).read_bytes() == damaged
    shell("switch", "-f", "other")
    assert shell.load() == {"a": 1, "b": 2}


def test_its_checksums_are_a_reason_too(shell: Shell) -> None:
    path = shell.folder / "m.npz"
    np.savez(path, np.arange(1000.0))
    shell("add", "m.npz")
    shell.commit("first")
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + b"!" + whole[501:])
    assert "m.npz" in shell("status", "--json").json["warnings"][0]
    shell("restore", "m.npz")
    assert path.read_bytes() == whole


def test_what_is_no_file_is_passed_by(model: Shell) -> None:
    folder = model.folder / "run"
    folder.mkdir()
    save_file({"w": np.zeros(3)}, folder / "w.safetensors")
    (folder / "latest.pt").symlink_to("gone.pt")
    os.mkfifo(folder / "pipe.safetensors")
    model("add", "run")
    told = model("status", "--json").json
    assert [file["path"] for file in told["files"]] == ["run/w.safetensors"]
    model.commit("with links")
    model("switch", "--detach", "HEAD~1")
    assert stat.S_ISFIFO((folder / "pipe.safetensors").stat().st_mode)


def test_a_name_that_is_no_text_is_named_where_it_is_tracked(model: Shell) -> None:
    try:
        (model.folder / os.fsdecode(b"m\xff.bin")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert r"m\xff.bin" in model("status").out
    model.commit("beside it", a=3)
    told = model("add", ".", code=2).err
    assert "UTF-8" in told
    assert ".thetaignore" in told


def test_a_link_whose_disk_is_away_is_not_deleted_by_a_commit(model: Shell, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    folder = model.folder / "models"
    folder.mkdir()
    (model.folder / NAME).rename(disk / "big.safetensors")
    (folder / "big.safetensors").symlink_to(disk / "big.safetensors")
    model("rm", NAME)
    model("add", "models")
    model.commit("a link")
    disk.rename(tmp_path / "away")
    assert "is a link to" in model("commit", "-am", "nightly", code=7).err
    assert "models/big.safetensors: a link to what is not there" in model("status").err
    assert "models/big.safetensors" in model("ls").out


def test_a_missing_shard_is_told_of(shell: Shell) -> None:
    names = {f"l{n}": f"m-{n + 1:05}-of-00003.safetensors" for n in range(3)}
    for name, file in names.items():
        save_file({name: np.full(9, 1.0)}, shell.folder / file)
    index = {"metadata": {}, "weight_map": names}
    (shell.folder / "m.safetensors.index.json").write_text(json.dumps(index))
    shell("add", ".")
    shell.commit("whole")
    (shell.folder / names["l1"]).unlink()
    for warning in (
        shell("status", "--json").json["warnings"],
        shell("commit", "-am", "lost", "--json").json["warnings"],
    ):
        (line,) = warning
        assert f"{names['l1']} is missing" in line


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    model: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    model.save(a=7, b=2)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert "changed" in model("status").out
