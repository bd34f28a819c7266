"""``writing``: a file that begins as another one, and times by which later writes can be told."""

import os
from pathlib import Path

import pytest

from theta.formats import writing
from theta.formats.writing import FileWriter

SIZE = 256 * 64


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "origin"
    path.write_bytes(bytes(range(256)) * 64)
    return path


def _copy(source: int, target: int) -> bool:
    return os.pwrite(target, os.pread(source, SIZE, 0), 0) == SIZE


def test_a_clone_begins_with_all_bytes_and_keeps_its_own(
    tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with origin.open("rb") as source, (tmp_path / "try").open("wb") as target:
        if not writing.reflink(source.fileno(), target.fileno()):
            monkeypatch.setattr(writing, "reflink", _copy)
    with origin.open("rb") as file:
        out = FileWriter(tmp_path / "clone", SIZE, origin=file.fileno())
    assert out.cloned
    out.pwrite(5, b"new")
    out.close()
    whole = bytearray(origin.read_bytes())
    assert whole == bytes(range(256)) * 64
    whole[5:8] = b"new"
    assert (tmp_path / "clone").read_bytes() == whole


def test_where_nothing_can_be_shared_a_file_begins_as_zeros(
    tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "reflink", lambda *_: False)
    with origin.open("rb") as file:
        out = FileWriter(tmp_path / "new", SIZE, origin=file.fileno())
    assert not out.cloned
    out.close()
    assert (tmp_path / "new").read_bytes() == bytes(SIZE)


def test_what_is_no_file_is_not_shared(tmp_path: Path) -> None:
    read, write = os.pipe()
    out = FileWriter(tmp_path / "new", SIZE, origin=read)
    assert not out.cloned
    out.discard()
    os.close(read)
    os.close(write)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not hasattr(os, "fchmod"), reason="this system has no ctime to compare with")
def test_once_it_is_settled_a_write_shows(tmp_path: Path) -> None:
    out = FileWriter(tmp_path / "new", 8, mode=0o640)
    out.pwrite(0, b"12345678")
    out.sync()
    out.settle()
    before = out.path.stat()
    assert before.st_mtime_ns < before.st_ctime_ns
    out.pwrite(0, b"87654321")
    out.close()
    after = out.path.stat()
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_mode == before.st_mode
