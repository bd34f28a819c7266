"""``stat_cache``: what is trusted about a file that was looked at before."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from theta.stat_cache import StatCache
from theta_store.ids import RecordId
from theta_store.records import TreeEntry

NOW = 1_700_000_000_123_456_789
SECOND = 1_000_000_000
ENTRY = TreeEntry("m.pt", "checkpoint", RecordId(bytes(32)), executable=False)

Put = Callable[..., tuple[StatCache, os.stat_result]]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Cache a file with this mtime, at the moment `NOW`."""

    def made(mtime_ns: int, ctime_ns: int | None = None) -> tuple[StatCache, os.stat_result]:
        path = tmp_path / "m.pt"
        path.write_bytes(b"values")
        cache = StatCache.load(tmp_path / "cache", clock=lambda: NOW)
        status = _with_times(path.stat(), mtime_ns, ctime_ns or mtime_ns)
        cache.put("m.pt", status, ENTRY)
        cache.save()
        return StatCache.load(tmp_path / "cache"), status

    return made


def _with_times(status: os.stat_result, mtime_ns: int, ctime_ns: int) -> os.stat_result:
    """Return the stat of a file with these times: nobody can set a ctime."""
    parts = status.__reduce__()[1]
    return os.stat_result(parts[0], parts[1] | {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns})


@pytest.mark.parametrize(
    ("mtime_ns", "is_trusted"),
    [
        (NOW, False),
        (NOW - 99_000_000, False),
        (NOW - 101_000_000, True),
        # A clock with a step of 10 ms or more has made these.
        (NOW // SECOND * SECOND, False),
        (NOW // SECOND * SECOND - SECOND, False),
        (NOW // SECOND * SECOND - 2 * SECOND, True),
        (NOW // 10_000_000 * 10_000_000 - 200_000_000, False),
        (NOW + SECOND, False),
    ],
)
def test_a_file_is_trusted_once_its_time_is_older_than_the_grain(
    put: Put, mtime_ns: int, is_trusted: bool
) -> None:
    cache, status = put(mtime_ns)
    assert (cache.get("m.pt", status) == ENTRY) is is_trusted
    assert cache.likely("m.pt", status) == ENTRY


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "is_trusted"),
    [
        # A write would move the mtime to the ctime or later.
        (NOW - 1, NOW, True),
        (NOW, NOW, False),
        (NOW + 1, NOW, False),
        # A clock with steps may move the one and not the other.
        (NOW // 10_000_000 * 10_000_000, NOW, False),
    ],
)
def test_a_file_is_trusted_if_a_write_would_move_its_mtime(
    put: Put, mtime_ns: int, ctime_ns: int, is_trusted: bool
) -> None:
    cache, status = put(mtime_ns, ctime_ns)
    assert (cache.get("m.pt", status) == ENTRY) is is_trusted
    assert cache.likely("m.pt", status) == ENTRY


def test_a_file_with_another_stat_is_not_trusted(put: Put, tmp_path: Path) -> None:
    cache, status = put(NOW - 10 * SECOND)
    path = tmp_path / "m.pt"
    os.utime(path, ns=(NOW - 9 * SECOND, NOW - 9 * SECOND))
    assert cache.get("m.pt", path.stat()) is None
    path.write_bytes(b"longer values")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert cache.get("m.pt", path.stat()) is None
    assert cache.get("other", status) is None


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x02rest", b"\x01" + bytes(16) + b"\x80"])
def test_a_cache_that_is_damaged_is_empty(put: Put, tmp_path: Path, damage: bytes) -> None:
    _, status = put(NOW - 10 * SECOND)
    (tmp_path / "cache").write_bytes(damage)
    assert StatCache.load(tmp_path / "cache").get("m.pt", status) is None


def test_a_file_that_was_read_is_as_old_as_the_beginning_of_the_reading(
    put: Put, tmp_path: Path
) -> None:
    _, status = put(NOW - 200_000_000)
    cache = StatCache.load(tmp_path / "none", clock=lambda: NOW)
    cache.put("m.pt", status, ENTRY, since=status.st_mtime_ns + 1_000_000)
    assert cache.get("m.pt", status) is None
