"""``theta init``: on a full disk, after one that was cut short, and on a store that is there."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell, mounted

KIB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    yield from mounted(tmp_path / "disk", "1m")


def _theta(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "theta", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


# Too little for the lock file, for the first page, for all tables, for the lock file again.
@pytest.mark.parametrize("free", [0, 4, 8, 40, 64, 80])
def test_a_full_disk_is_said_and_init_goes_on_later(disk: Path, free: int) -> None:
    work = disk / "work"
    work.mkdir()
    filling = disk / "filling"
    filling.write_bytes(bytes((1024 - free) * KIB))
    done = _theta(work, "init")
    assert done.returncode == 7, done
    assert "disk full" in done.stderr
    filling.unlink()
    done = _theta(work, "status")
    assert (done.returncode, "never finished" in done.stderr) == (3, True)
    done = _theta(work, "init")
    assert (done.returncode, "Made an empty repository" in done.stderr) == (0, True)
    (work / "x").write_text("x")
    assert _theta(work, "add", "x").returncode == 0
    assert _theta(work, "commit", "-m", "x").returncode == 0
    assert _theta(work, "fsck").returncode == 0


def _no_store(private: Path) -> None:
    shutil.rmtree(private / "store")


def _no_data(private: Path) -> None:
    (private / "store" / "meta" / "data.mdb").unlink()


def _half_a_page(private: Path) -> None:
    (private / "store" / "meta" / "data.mdb").write_bytes(bytes(2 * KIB))


def _empty_pointer(private: Path) -> None:
    _no_store(private)
    (private / "store-path").write_text("")


CUTS = {f.__name__: f for f in (_no_store, _no_data, _half_a_page, _empty_pointer)}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_what_was_cut_short_is_finished(shell: Shell, cut: Callable[[Path], None]) -> None:
    work = shell.folder / "cut"
    shell("init", str(work))
    cut(work / ".theta")
    assert "Made an empty repository" in shell("init", str(work)).err
    assert "There is a repository already" in shell("init", str(work)).err
    assert "No commit yet" in shell("-C", str(work), "status").out


@pytest.mark.parametrize("cut", [_no_data, _half_a_page])
def test_what_was_ever_committed_to_is_not_made_anew(
    model: Shell, cut: Callable[[Path], None]
) -> None:
    cut(model.folder / ".theta")
    model("init", code=6)
    model("status", code=6)


def test_a_store_that_was_taken_away_is_not_made_anew(model: Shell) -> None:
    store = model.folder / ".theta" / "store"
    store.rename(model.folder / "elsewhere")
    model("init", code=3)
    (model.folder / "elsewhere").rename(store)
    model("fsck")


def test_a_store_that_is_not_mounted_is_not_made_anew(shell: Shell, tmp_path: Path) -> None:
    work, store = shell.folder / "w", tmp_path / "store"
    shell("init", str(work), "--store", str(store))
    (work / "x").write_text("x")
    shell("-C", str(work), "add", "x")
    shutil.rmtree(store)
    shell("init", str(work), code=3)
    shell("init", str(work), "--store", str(store), code=3)
    assert not store.exists()


def test_a_mount_point_without_its_disk_gets_no_store(shell: Shell, tmp_path: Path) -> None:
    work, store = shell.folder / "w", tmp_path / "store"
    shell("init", str(work), "--store", str(store))
    disk = store.rename(tmp_path / "unmounted")
    for step in ("before it was used", "since"):
        store.mkdir()
        told = shell("init", str(work), code=3).err
        assert "mount it again" in told, step
        assert not list(store.iterdir())
        store.rmdir()
        disk.rename(store)
        (work / "x").write_text("x")
        shell("-C", str(work), "add", "x")
        store.rename(disk)


def test_a_place_that_will_not_do_is_not_remembered(shell: Shell, tmp_path: Path) -> None:
    work = shell.folder / "w"
    (tmp_path / "file").write_text("no folder")
    shell("init", str(work), "--store", str(tmp_path / "file" / "x"), code=7)
    shell("init", str(work), "--store", str(tmp_path / "good"))
    assert "No commit yet" in shell("-C", str(work), "status").out
    told = shell("init", str(work), "--store", str(tmp_path / "third"), code=2).err
    assert str(tmp_path / "good") in told


@pytest.mark.parametrize("is_here", [True, False])
def test_a_shared_store_that_is_joined_at_the_second_try_deletes_nothing(
    model: Shell, tmp_path: Path, is_here: bool
) -> None:
    other = tmp_path / "other"
    (other / ".theta").mkdir(parents=True)
    (other / ".theta" / "config.toml").write_text("")
    if is_here:
        (other / "m.safetensors").write_text("of mine")
    store = model.folder / ".theta" / "store"
    told = model("init", str(other), "--store", str(store)).err
    assert ("1 of the 1 files of HEAD have a name that is here" in told) == is_here
    assert ("None of the files of HEAD are here" in told) != is_here
    assert "deleted" not in model("-C", str(other), "status").out


def test_a_store_that_is_there_is_shared(model: Shell, tmp_path: Path) -> None:
    store = model.folder / ".theta" / "store"
    other = tmp_path / "other"
    said = model("init", str(other), "--store", str(store)).err
    assert "Made an empty repository" not in said
    assert "HEAD (main, " in said
    assert "theta restore ." in said
    assert model("init", str(tmp_path / "third"), "--store", str(store), "--json").json["shared"]
    status = model("-C", str(other), "status").out
    assert "Not checked out" in status
    assert "deleted" not in status
    (other / "new").write_text("new")
    model("-C", str(other), "add", "new")
    model("-C", str(other), "commit", "-m", "from the other workspace")
    assert "m.safetensors" in model("ls").out, "what was never here was not deleted"
    model("-C", str(other), "restore", ".")
    assert (other / "m.safetensors").read_bytes() == (model.folder / "m.safetensors").read_bytes()


def test_restore_on_a_full_disk_says_what_to_do_without(disk: Path) -> None:
    work = disk / "work"
    work.mkdir()
    assert _theta(work, "init").returncode == 0
    (work / "x").write_bytes(np.random.default_rng(1).bytes(100 * KIB))
    assert _theta(work, "add", "x").returncode == 0
    assert _theta(work, "commit", "-m", "x").returncode == 0
    (work / "x").write_bytes(np.random.default_rng(2).bytes(200 * KIB))
    filling = disk / "filling"
    free = shutil.disk_usage(disk).free
    filling.write_bytes(bytes(free - 40 * KIB))
    done = _theta(work, "restore", ".")
    assert done.returncode == 7
    assert "delete the changed files" in done.stderr
    (work / "x").unlink()
    assert _theta(work, "restore", "x").returncode == 0
    assert (work / "x").read_bytes() == np.random.default_rng(1).bytes(100 * KIB)
