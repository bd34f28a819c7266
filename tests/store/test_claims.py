"""Which volume takes the next payload: one with room, that nobody else has, and that is sound."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from theta_store.claims import Claims
from theta_store.db import Volume, Volumes
from theta_store.db.volumes import HEADROOM
from theta_store.store import Store

KIB = 1 << 10
ROOM = HEADROOM + (1 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    Store.create(tmp_path / "store", head="refs/heads/main").close()
    with Store(tmp_path / "store") as opened:
        yield opened


def _claims(store: Store, capacity: int = ROOM, avoid: frozenset[int] = frozenset()) -> Claims:
    return Claims(store._meta, store._volumes, capacity=capacity, avoid=avoid)


def _made(store: Store, payload: bytes = b"") -> int:
    """Make a volume with so much in it, and give it up; return its number."""
    claims = _claims(store)
    volume = claims.writable(None, [], 0)
    volume.put([(b"key", payload)])
    claims.release()
    return volume.number


def _is_free(volumes: Volumes, number: int) -> bool:
    claim = volumes.claim(number)
    if claim is None:
        return False
    claim.release()
    return True


def test_a_volume_with_room_is_used_again(store: Store) -> None:
    number = _made(store)
    claims = _claims(store)
    volume = claims.writable(None, [], KIB)
    assert volume.number == number
    assert claims.writable(volume, [], KIB) is volume
    assert not _is_free(store._volumes, number)
    claims.release()
    assert _is_free(store._volumes, number)


def test_a_full_volume_is_passed_by_and_left_to_others(store: Store) -> None:
    number = _made(store, bytes(1 << 20))
    claims = _claims(store)
    assert claims.writable(None, [], KIB).number != number
    assert _is_free(store._volumes, number)
    claims.release()


def test_a_volume_that_is_full_by_now_is_changed(store: Store) -> None:
    claims = _claims(store)
    volume = claims.writable(None, [], 0)
    volume.put([(b"key", bytes(1 << 20))])
    other = claims.writable(volume, [], KIB)
    assert other.number != volume.number
    # gc must not have the first one before its rows are known.
    assert not _is_free(store._volumes, volume.number)
    claims.release()


def test_volumes_to_avoid_are(store: Store) -> None:
    number = _made(store)
    claims = _claims(store, avoid=frozenset({number}))
    assert claims.writable(None, [], KIB).number != number
    assert _is_free(store._volumes, number)
    claims.release()


def test_a_damaged_volume_gets_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    number = _made(store)
    monkeypatch.setattr(Volume, "flaws", lambda _: ["page 3 is damaged"])
    claims = _claims(store)
    volume = claims.writable(None, [], KIB)
    assert volume.number == number
    assert claims.give_up_if_damaged(volume)
    claims.release()
    assert claims.writable(None, [], KIB).number != number
    claims.release()


def test_a_new_volume_is_never_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volume, "flaws", lambda _: ["page 3 is damaged"])
    claims = _claims(store)
    assert not claims.give_up_if_damaged(claims.writable(None, [], KIB))
    claims.release()
