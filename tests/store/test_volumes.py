"""Volumes: one writer at a time, from the first moment to the last."""

import errno
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from theta_store.db import Volumes
from theta_store.errors import MissingObject


def test_a_new_volume_is_claimed_before_anyone_can_see_it(tmp_path: Path) -> None:
    ours, theirs = Volumes(tmp_path), Volumes(tmp_path)
    volume, claim = ours.create(1)
    volume.put([(b"k" * 32, b"payload")])
    assert theirs.numbers() == [1]
    assert theirs.claim(1) is None
    claim.release()
    other = theirs.claim(1)
    assert other is not None
    other.release()
    ours.close()


def test_a_folder_without_a_data_file_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "00000001").mkdir()
    volumes = Volumes(tmp_path)
    assert volumes.numbers() == []
    assert volumes.claim(1) is None
    with pytest.raises(MissingObject):
        volumes.get(1)


def test_an_unlinked_volume_cannot_be_claimed(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    _, claim = volumes.create(1)
    volumes.unlink(1)
    claim.release()
    assert volumes.claim(1) is None
    assert volumes.numbers() == []
    volumes.close()


def test_a_volume_that_could_not_be_made_is_gone_before_anyone_can_claim_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, claims = Volumes(tmp_path), Volumes(tmp_path), []

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "no more")

    def remove(path: Path, **_: bool) -> None:
        claims.append(theirs.claim(1))
        real(path)

    real = shutil.rmtree
    monkeypatch.setattr("theta_store.db.volumes.sync_folder", fail)
    monkeypatch.setattr("theta_store.db.volumes.shutil.rmtree", remove)
    with pytest.raises(OSError, match="no more"):
        ours.create(1)
    assert claims == [None], "what another process puts there would be removed"
    assert not ours.path(1).exists()
    with pytest.raises(MissingObject):
        ours.get(1)
    ours.close()


def test_a_volume_that_is_being_unlinked_is_no_error(tmp_path: Path) -> None:
    volumes, done = Volumes(tmp_path), threading.Event()
    folder = volumes.path(1)

    def come_and_go() -> None:
        while not done.is_set():
            with suppress(OSError):
                folder.mkdir()
                folder.rmdir()
            with suppress(OSError):
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        # Without the rule, one in a hundred of these raises FileExistsError.
        assert {volumes.claim(1) for _ in range(2000)} == {None}
    finally:
        done.set()
        other.join()
