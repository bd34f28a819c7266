"""Which files need not be read again: their stat as it was when they were last hashed.

Owns the cache file and the rule of trust: size, mtime, ctime, inode and device agree, and a file
that was written again would have another mtime. It would if the mtime is older than the ctime, or
than the entry by more than the grain of the clock that made it. Must not know the store. A damaged
or foreign cache is an empty one.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import msgspec
from blake3 import blake3

from theta_store.ids import RecordId
from theta_store.records import TreeEntry

VERSION = 1
# FAT counts in steps of two seconds.
GRAIN_NS = 2_000_000_000
# Who counts in such steps, or longer ones, makes no time between them. All others take their time
# from the system's clock, which stands still for 16 ms at most.
STEP_NS = 10_000_000
FINE_GRAIN_NS = 100_000_000
_SUM_BYTES = 16


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """A file's stat, when it was taken, and the entry it stood for."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    cached_ns: int
    name: str
    kind: Literal["blob", "checkpoint"]
    id: bytes
    executable: bool


_DECODER = msgspec.msgpack.Decoder(dict[str, _Seen])


class StatCache:
    """Entries by path; load, ask, put, save."""

    def __init__(
        self, path: Path, seen: dict[str, _Seen], *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._path = path
        self._seen = seen
        self._clock = clock
        self.loaded_ns = clock()

    @classmethod
    def load(cls, path: Path, *, clock: Callable[[], int] = time.time_ns) -> Self:
        """Read the cache; anything wrong with it makes it empty."""
        try:
            data = path.read_bytes()
            body = data[1 + _SUM_BYTES :]
            if data[:1] == bytes((VERSION,)) and data[1 : 1 + _SUM_BYTES] == _sum(body):
                return cls(path, _DECODER.decode(body), clock=clock)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            pass
        return cls(path, {}, clock=clock)

    def get(self, path: str, status: os.stat_result) -> TreeEntry | None:
        """Return the entry of an unchanged file, or None when it has to be read."""
        seen = self._seen.get(path)
        if seen is not None and not _would_show(status, seen.cached_ns):
            return None
        return self.likely(path, status)

    def likely(self, path: str, status: os.stat_result) -> TreeEntry | None:
        """Return what a file is if it was not changed within the clock's grain.

        For those who verify what they read.
        """
        seen = self._seen.get(path)
        if seen is None or signature(status) != _stat_of(seen):
            return None
        return TreeEntry(seen.name, seen.kind, RecordId(seen.id), seen.executable)

    def put(
        self, path: str, status: os.stat_result, entry: TreeEntry, *, since: int | None = None
    ) -> None:
        """Remember what a file with this stat was, when its bytes began to be looked at.

        None: now, for files that were written.
        """
        if entry.kind != "tree":
            when = self._clock() if since is None else since
            self._seen[path] = _Seen(
                *signature(status), when, entry.name, entry.kind, entry.id, entry.executable
            )

    def drop(self, path: str) -> None:
        """Forget a file."""
        self._seen.pop(path, None)

    def save(self) -> None:
        """Write the cache atomically; a cache that cannot be written is no loss."""
        body = msgspec.msgpack.encode(self._seen)
        temporary = self._path.with_name(f"{self._path.name}.{os.urandom(4).hex()}")
        try:
            temporary.write_bytes(bytes((VERSION,)) + _sum(body) + body)
            temporary.replace(self._path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _would_show(status: os.stat_result, cached_ns: int) -> bool:
    """Say whether a file that was written again since would have another mtime.

    A write sets both times to the clock's, which is never behind the ctime: an mtime that is moves.
    """
    mtime_ns = status.st_mtime_ns
    if mtime_ns % STEP_NS:
        return mtime_ns < status.st_ctime_ns or mtime_ns <= cached_ns - FINE_GRAIN_NS
    return mtime_ns <= cached_ns - GRAIN_NS


def signature(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """Return what differs between a file and the same file after a change."""
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )


def _stat_of(seen: _Seen) -> tuple[int, int, int, int, int]:
    return seen.size, seen.mtime_ns, seen.ctime_ns, seen.inode, seen.device


def _sum(body: bytes) -> bytes:
    return blake3(body, derive_key_context="theta/1 stat cache").digest(_SUM_BYTES)
