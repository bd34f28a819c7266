"""Commits whose files were given up: their records stay, their trees may go.

Owns the table ``expiries``. Must not know why a commit was expired.

A value is the time of expiry, eight bytes little-endian, microseconds since 1970 in UTC.
"""

import time
from collections.abc import Iterable

from theta_store.db import Reader, Table, Writer
from theta_store.ids import CommitId, RecordId
from theta_store.sealed import seal, unseal


def is_expired(reader: Reader, commit: CommitId) -> bool:
    """Say whether a commit's tree was given up."""
    row = reader.get(Table.EXPIRIES, commit)
    if row is not None:
        unseal(Table.EXPIRIES, commit, row)
    return row is not None


def expired(reader: Reader) -> set[CommitId]:
    """Return all expired commits."""
    found = set()
    for key, row in reader.items(Table.EXPIRIES):
        unseal(Table.EXPIRIES, key, row)
        found.add(CommitId(RecordId(key)))
    return found


def expire(writer: Writer, commits: Iterable[CommitId]) -> None:
    """Give up the trees of commits."""
    now = (time.time_ns() // 1000).to_bytes(8, "little")
    for commit in commits:
        writer.put(Table.EXPIRIES, commit, seal(Table.EXPIRIES, commit, now))


def revive(writer: Writer, commits: Iterable[CommitId]) -> None:
    """Take expiries back; what gc has collected meanwhile stays gone."""
    for commit in commits:
        writer.delete(Table.EXPIRIES, commit)
