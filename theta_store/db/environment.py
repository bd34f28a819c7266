"""One LMDB environment: opened once per process, reopened after a fork.

Owns the process-wide list of open environments (LMDB's file locks belong to a process, so a
second open of the same file would share and then release the first one's), read and write
transactions, and the translation of every LMDB error. Must not know what the bytes mean.

Rules: ``sync=True`` always and never ``writemap`` (a full disk would kill the process);
``lib_version=0`` is passed explicitly, since an environment variable could change the format;
no transaction outlives the ``with`` block that opened it.
"""

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import msgspec

from theta_store.db.filesystem import free_bytes, has_room, reserve
from theta_store.db.pages import check_head
from theta_store.errors import (
    DiskFull,
    ForeignRepository,
    IntegrityError,
    Locked,
    ResourceError,
    ThetaError,
)
from theta_store.locks import OwnLock

LIB_VERSION = 0
MAX_READERS = 1022
MIN_MAP = 1 << 28
# Of some hundred bytes each; a tensor's has 70 more for each MiB of it.
MOST_REMEMBERED = 1 << 16
DATA_FILE = "data.mdb"
LOCK_FILE = "lock.mdb"
# What LMDB makes of it for so many readers: 64 bytes for each, and two lines of its own.
LOCK_BYTES = (MAX_READERS + 2) * 64
NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


Key = TypeVar("Key", bound=bytes)


class Reader:
    """A read transaction: values are memoryviews that die with the ``with`` block.

    ``memo`` is where its user keeps what the values meant, by table and key; None: nowhere. All
    who read the same state of the environment share it.
    """

    def __init__(
        self,
        txn: lmdb.Transaction,
        tables: dict[str, Any],
        memo: dict[tuple[str, bytes], Any] | None = None,
    ) -> None:
        self.txn = txn
        self.memo = memo
        self._tables = tables

    def get(self, table: str, key: bytes) -> memoryview | None:
        """Return the value of a key, or None."""
        value = self.txn.get(key, db=self._tables[table])
        return None if value is None else memoryview(value)

    def lacking(self, table: str, keys: Iterable[Key]) -> set[Key]:
        """Return those of some keys that have no value."""
        find = self.txn.cursor(db=self._tables[table]).set_key
        return {key for key in keys if not find(key)}

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Yield keys and values from ``start`` on, in the order of the keys' bytes."""
        cursor = self.txn.cursor(db=self._tables[table])
        if cursor.set_range(start):
            for key, value in cursor.iternext():
                yield bytes(key), memoryview(value)

    def keys(self, table: str, start: bytes = b"") -> Iterator[bytes]:
        """Yield keys from ``start`` on without touching the values' pages."""
        cursor = self.txn.cursor(db=self._tables[table])
        if cursor.set_range(start):
            for key in cursor.iternext(keys=True, values=False):
                yield bytes(key)

    def last(self, table: str) -> tuple[bytes, memoryview] | None:
        """Return the item with the greatest key."""
        cursor = self.txn.cursor(db=self._tables[table])
        return (bytes(cursor.key()), memoryview(cursor.value())) if cursor.last() else None

    def count(self, table: str) -> int:
        """Return the number of items of a table."""
        return self.txn.stat(self._tables[table])["entries"]

    @property
    def number(self) -> int:
        """The transaction's number, which only grows: the store's clock."""
        return self.txn.id()


class Writer(Reader):
    """The one write transaction of an environment; all or nothing at the end of its block."""

    def put(self, table: str, key: bytes, value: bytes | bytearray | memoryview) -> None:
        """Set the value of a key."""
        self.txn.put(key, value, db=self._tables[table])

    def add(self, table: str, key: bytes, value: bytes | bytearray | memoryview) -> bool:
        """Set the value of a key that is not there; say whether it was set."""
        return self.txn.put(key, value, db=self._tables[table], overwrite=False)

    def add_all(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Set the values of keys that are not there."""
        # Neighbours lie in the same page.
        self.txn.cursor(db=self._tables[table]).putmulti(sorted(items), overwrite=False)

    def delete(self, table: str, key: bytes) -> bool:
        """Remove a key; say whether it was there."""
        return self.txn.delete(key, db=self._tables[table])


class Environment(msgspec.Struct, eq=False):
    """An open environment, shared by everything in this process that names its folder."""

    path: Path
    tables: tuple[str, ...]
    map_bytes: int
    readonly: bool
    create: bool
    _pid: int = 0
    _users: int = 0
    _lmdb: lmdb.Environment | None = None
    _handles: dict[str, Any] = msgspec.field(default_factory=dict)
    # The threads that are in LMDB; more than once if they are so several times.
    _inside: list[int] = msgspec.field(default_factory=list)
    _lock: OwnLock = msgspec.field(default_factory=OwnLock)
    # The number of a transaction, and what was read in transactions of that number.
    _memo: tuple[int, dict[tuple[str, bytes], Any]] = msgspec.field(default_factory=lambda: (0, {}))

    @contextmanager
    def read(self, *, remember: bool = False) -> Iterator[Reader]:
        """Open a read transaction for the length of a ``with`` block, with a memo if asked for."""
        self._environment()
        thread = threading.get_ident()
        self._inside.append(thread)
        try:  # not `_translated`: this is opened for every record
            with self._begin(write=False) as txn:
                yield Reader(txn, self._handles, self._memo_of(txn) if remember else None)
        except lmdb.Error as error:
            raise translate(error, self.path) from error
        finally:
            self._inside.remove(thread)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Open the write transaction; committed and synced at the end, aborted on an exception."""
        if self.readonly:
            raise ForeignRepository(
                f"{self.path} is open for reading only; nothing was written",
                hint="check the owner and the permissions of the repository",
            )
        self._environment()
        thread = threading.get_ident()
        self._inside.append(thread)
        try:
            with self._translated(), self._begin(write=True) as txn:
                yield Writer(txn, self._handles)
        except DiskFull:
            self.cut_off()
            raise
        finally:
            self._inside.remove(thread)

    @property
    def used_bytes(self) -> int:
        """Bytes of the file up to the last page in use."""
        return _used(self._environment())

    def release(self) -> None:
        """Give up one use; the last one closes the environment."""
        with _REGISTRY_LOCK:
            self._users -= 1
            if self._users == 0:
                _REGISTRY.pop(_key(self.path), None)
                if self._lmdb is not None and self._pid == os.getpid():
                    self._lmdb.close()
                self._lmdb = None

    def cut_off(self) -> None:
        """Drop what a transaction that failed, or was killed, left behind the last page."""
        # The write transaction keeps other writers out; it changes nothing itself.
        with self._translated(), self._begin(write=True), suppress(OSError):
            os.truncate(self.path / DATA_FILE, self.used_bytes)

    def _memo_of(self, txn: lmdb.Transaction) -> dict[tuple[str, bytes], Any]:
        """Return the memo of the state that a transaction reads; one that has grown is left."""
        state, memo = self._memo
        if state != txn.id() or len(memo) > MOST_REMEMBERED:
            memo = {}
            self._memo = (txn.id(), memo)
        return memo

    def _begin(self, *, write: bool) -> lmdb.Transaction:
        environment = self._environment()
        try:
            return environment.begin(write=write, buffers=True)
        except lmdb.MapResizedError:
            environment.set_mapsize(0)
            return environment.begin(write=write, buffers=True)

    def _environment(self) -> lmdb.Environment:
        opened = self._lmdb
        if opened is not None and self._pid == os.getpid():
            return opened
        with self._lock:
            if self._lmdb is None or self._pid != os.getpid():
                if self._lmdb is not None:
                    self._leave_parent(self._lmdb)
                with self._translated():
                    self._lmdb = self._open()
                self._pid = os.getpid()
            return self._lmdb

    def _leave_parent(self, inherited: lmdb.Environment) -> None:
        """Close the handle that came along with a fork.

        That gives up only the child's descriptors; using it would share the parent's locks. But
        where a thread was in it at the fork, which is not here to leave, closing would never end.
        """
        if self._inside:
            raise Locked(
                f"a thread of the parent was using {self.path} when this process was forked",
                hint="fork while no other thread uses the repository, or spawn the process",
            )
        inherited.close()

    def flaws(self) -> list[str]:
        """Return what is wrong with the pages of the data file, none of them read through LMDB."""
        from lmdb.verify import VerifyError, verify

        def look() -> list[str]:
            try:
                found: list[str] = verify(str(self.path))  # type: ignore[no-untyped-call]
            except VerifyError as error:
                return [str(error)]
            return found

        found = look()
        if not found or self.readonly:
            return found
        # Somebody may have written meanwhile; the write transaction keeps them out.
        with self._translated(), self._begin(write=True):
            return look()

    def _open(self) -> lmdb.Environment:
        self._check_file()
        size = self.map_bytes
        while True:
            try:
                opened = self._open_sized(size)
                break
            except lmdb.MemoryError:
                if size <= MIN_MAP:
                    raise ResourceError(f"no address space left to open {self.path}") from None
                size //= 2
        self._check_length(opened)
        for table in self.tables:
            self._handles[table] = self._table(opened, table)
        return opened

    def _open_sized(self, size: int) -> lmdb.Environment:
        writable_lock = os.access(self.path, os.W_OK)
        if writable_lock:
            self._reserve_lock()
        return lmdb.open(
            str(self.path),
            map_size=size,
            max_dbs=max(len(self.tables), 1),
            max_readers=MAX_READERS,
            readonly=self.readonly,
            lock=not self.readonly or writable_lock,
            create=not self.readonly,
            readahead=False,
            meminit=False,
            lib_version=LIB_VERSION,
        )

    def _reserve_lock(self) -> None:
        """Put the lock file on the disk: LMDB maps it for writing, sparse as it makes it."""
        try:
            reserve(self.path / LOCK_FILE, LOCK_BYTES)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise disk_full(self.path) from None
            # LMDB says what is wrong; a file system that cannot reserve is none of its cares.

    def _check_file(self) -> None:
        file = self.path / DATA_FILE
        if file.exists():
            check_head(file)
        elif not self.create:
            raise IntegrityError(
                f"{file} is missing", hint="restore it from a backup, then run theta fsck"
            )

    def _check_length(self, opened: lmdb.Environment) -> None:
        # A page beyond the end of a truncated file would kill the process with SIGBUS.
        needed = _used(opened)
        actual = (self.path / DATA_FILE).stat().st_size
        if opened.info()["last_txnid"] and actual < needed:
            opened.close()
            raise IntegrityError(
                f"{self.path / DATA_FILE} is truncated: {actual} of {needed} bytes are left",
                hint="restore the file from a backup, then run theta fsck",
            )

    def _table(self, opened: lmdb.Environment, table: str) -> Any:
        if table == "":
            return opened.open_db(None)
        try:
            return opened.open_db(table.encode(), create=not self.readonly)
        except lmdb.NotFoundError:
            raise IntegrityError(f"{self.path} lacks its table {table!r}") from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise translate(error, self.path) from error


def _used(opened: lmdb.Environment) -> int:
    return int((opened.info()["last_pgno"] + 1) * opened.stat()["psize"])


def translate(error: lmdb.Error, path: Path) -> ThetaError:
    """Return our error for one of LMDB's."""
    text = str(error)
    full = getattr(error, "code", 0) in NO_SPACE or "MDB_SHORT_WRITE" in text
    # A write that was cut short at the end of the disk reads as one that failed.
    short = isinstance(error, lmdb.DiskError) or "Input/output error" in text
    if full or (short and not has_room(path / DATA_FILE)):
        return disk_full(path)
    if isinstance(error, lmdb.ReadersFullError):
        return Locked(f"too many readers of {path}", hint="close some, then retry")
    if isinstance(error, lmdb.MapFullError | lmdb.MemoryError):
        return ResourceError(f"the map of {path} is full: {text}")
    if isinstance(error, lmdb.LockError | lmdb.ReadonlyError) or "Permission denied" in text:
        return ForeignRepository(f"no permission to use {path}: {text}")
    return IntegrityError(f"{path}: {text}", hint="theta fsck")


def disk_full(path: Path) -> DiskFull:
    """Return the error of a full disk under a folder."""
    return DiskFull(
        f"disk full while writing to {path} ({free_bytes(path) >> 20} MiB free); "
        "nothing was committed",
        hint="theta gc --dry-run",
    )


_REGISTRY: dict[str, Environment] = {}
_REGISTRY_LOCK = OwnLock()


def _key(path: Path) -> str:
    return os.path.realpath(path)


def open_environment(
    path: Path,
    *,
    tables: tuple[str, ...],
    map_bytes: int,
    readonly: bool = False,
    create: bool = False,
) -> Environment:
    """Return this process's environment for a folder; `Environment.release` gives it back.

    A data file that is not there is an `IntegrityError`, unless ``create``.
    """
    with _REGISTRY_LOCK:
        environment = _REGISTRY.get(_key(path))
        if environment is None:
            environment = Environment(path, tables, map_bytes, readonly, create)
            environment._environment()  # noqa: SLF001 - the constructor of this file
            _REGISTRY[_key(path)] = environment
        environment._users += 1  # noqa: SLF001
        return environment
