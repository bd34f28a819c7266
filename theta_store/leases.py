"""Leases: what a running writer or reader asks gc to leave alone.

Owns the lease files and the table ``leases``. Must not know what is being written.

A lease is a file held with ``flock``, so it dies with its process, also across containers; its
row says since which transaction of ``meta`` everything new is spoken for, and which commits are
being read. gc takes the rows of the dead away.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta_store.db import Reader, Table, Writer
from theta_store.ids import CommitId
from theta_store.sealed import seal, unseal

if TYPE_CHECKING:
    from filelock import FileLock


class LeaseRow(msgspec.Struct, frozen=True, array_like=True):
    """What gc reads of a lease."""

    since: int
    roots: tuple[CommitId, ...]
    pid: int


class Lease(msgspec.Struct, frozen=True):
    """A lease held by this process."""

    name: str
    since: int
    path: Path
    lock: "FileLock"

    def release(self) -> None:
        """Give the lease up; its row is dropped by `drop` or by the next gc."""
        self.lock.release()
        self.path.unlink(missing_ok=True)


def lock_file(path: Path) -> "FileLock":
    """Return a lock that belongs to its object, not to a thread."""
    # Only who writes needs locks, and this import is a good part of the start of a verb that reads.
    from filelock import FileLock

    return FileLock(path, thread_local=False, is_singleton=False)


def take(writer: Writer, folder: Path, roots: Iterable[CommitId] = ()) -> Lease:
    """Take a lease; the file is locked before its row can be seen."""
    name = os.urandom(8).hex()
    path = folder / name
    lock = lock_file(path)
    lock.acquire(blocking=False)
    row = LeaseRow(writer.number, tuple(roots), os.getpid())
    key = name.encode()
    writer.put(Table.LEASES, key, seal(Table.LEASES, key, msgspec.msgpack.encode(row)))
    return Lease(name, row.since, path, lock)


def drop(writer: Writer, lease: Lease) -> None:
    """Take the lease's row away."""
    writer.delete(Table.LEASES, lease.name.encode())


def live(reader: Reader, folder: Path) -> list[LeaseRow]:
    """Return the leases whose process is alive."""
    return [row for name, row in rows(reader).items() if not _is_dead(folder / name)]


def drop_dead(writer: Writer, folder: Path) -> None:
    """Take away the rows and files that dead processes left."""
    known = rows(writer)
    for name in known:
        if _is_dead(folder / name):
            writer.delete(Table.LEASES, name.encode())
            (folder / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name not in known and _is_dead(path):
            path.unlink(missing_ok=True)


def rows(reader: Reader) -> dict[str, LeaseRow]:
    """Return every row by the name of its file."""
    found = {}
    for key, value in reader.items(Table.LEASES):
        row = unseal(Table.LEASES, key, value)
        found[key.decode()] = msgspec.msgpack.decode(row, type=LeaseRow)
    return found


def _is_dead(path: Path) -> bool:
    if not path.exists():
        return True
    lock = lock_file(path)
    try:
        lock.acquire(blocking=False)
    except OSError:  # filelock's Timeout is one
        return False
    lock.release()
    return True
