"""The file that a checkout writes: a new file of a known size, filled by position.

Owns the temporary file's descriptor, and how it shares the bytes of another file where the file
system can (XFS, Btrfs, bcachefs: a reflink). Must not know what is written, nor where the file will
be moved to: renaming it into place is the workspace's.
"""

import errno
import os
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from theta_store.errors import DiskFull, ResourceError

_FLAGS = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_POSITIONAL = hasattr(os, "pwrite")
_ADVISED = hasattr(os, "posix_fadvise")
# Less is left to the system, which writes neighbours together.
LEAST_ADVISED = 1 << 18
# The clock that makes times of files moves every 1 to 10 ms.
TICK_SECONDS = 0.004
TICKS = 4
# linux/fs.h: _IOW(0x94, 9, int). Python names it from 3.14 on.
_FICLONE = 0x40049409
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileWriter:
    """A new file, written by position from any thread; a file that exists is never opened.

    It is locked while it is open, so that others can see that somebody is at work.
    ``mode`` are the permission bits, before the process's mask. Nothing is durable before `sync`.
    ``origin`` is the descriptor of a file to begin as a copy of, without its bytes being copied;
    ``cloned`` says whether that was possible. Else the file begins as zeros.
    """

    path: Path
    size: int
    cloned: bool

    def __init__(
        self, path: Path, size: int, *, mode: int = 0o666, origin: int | None = None
    ) -> None:
        self.path = path
        self.size = size
        self._lock = threading.Lock()
        try:
            self._raw = open(os.open(path, _FLAGS, mode), "r+b", buffering=0)  # noqa: PTH123, SIM115
        except OSError as error:
            raise self._failed(error) from None
        _lock(self._raw.fileno())
        self.cloned = origin is not None and reflink(origin, self._raw.fileno())
        try:
            self._raw.truncate(size)
        except OSError as error:
            self.discard()
            raise self._failed(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pwrite(self, start: int, data: bytes | memoryview) -> None:
        """Write all of ``data`` at ``start``, inside the file; a full disk is `DiskFull`."""
        rest = memoryview(data).cast("B")
        if start < 0 or start + len(rest) > self.size:
            raise ValueError(f"{len(rest)} bytes at {start} lie outside a file of {self.size}")
        first = start
        try:
            while rest:
                done = self._write_at(start, rest)
                start, rest = start + done, rest[done:]
            self._begin_writeback(first, start - first)
        except OSError as error:
            raise self._failed(error) from None

    def sync(self) -> None:
        """Wait until the file's bytes are on the disk."""
        try:
            os.fsync(self._raw.fileno())
        except OSError as error:
            raise self._failed(error) from None

    def stat(self) -> os.stat_result:
        """Return the stat of the open file, whatever lies under its name."""
        return os.fstat(self._raw.fileno())

    def settle(self) -> None:
        """Wait until the clock has moved on, so that a later write would show in the file's mtime.

        The ctime is later than the mtime then, where the system has such times.
        """
        if not hasattr(os, "fchmod"):
            return
        for _ in range(TICKS):
            status = self.stat()
            if status.st_ctime_ns > status.st_mtime_ns:
                return
            time.sleep(TICK_SECONDS)
            with suppress(OSError):
                os.fchmod(self._raw.fileno(), stat.S_IMODE(status.st_mode))

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._raw.close()

    def discard(self) -> None:
        """Close the file and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write_at(self, start: int, data: memoryview) -> int:
        if _POSITIONAL:
            return os.pwrite(self._raw.fileno(), data, start)
        with self._lock:
            self._raw.seek(start)
            return self._raw.write(data) or 0

    def _begin_writeback(self, start: int, size: int) -> None:
        """Have the disk begin now, while more is decoded: `sync` then finds little to wait for.

        Linux starts to write a range out when told that it is not needed; what is on its way to
        the disk stays in memory.
        """
        if _ADVISED and size >= LEAST_ADVISED:
            os.posix_fadvise(self._raw.fileno(), start, size, os.POSIX_FADV_DONTNEED)

    def _failed(self, error: OSError) -> ResourceError:
        left = f"{self.path} is a temporary file; no file of the workspace was changed"
        if error.errno in _NO_SPACE:
            return DiskFull(f"no space is left: {left}")
        return ResourceError(f"the file cannot be written ({error.strerror}): {left}")


def is_abandoned(path: Path) -> bool:
    """Say whether nobody writes a file any more; False where that cannot be told."""
    with path.open("rb") as file:
        return _lock(file.fileno())


def _lock(number: int) -> bool:
    """Lock an open file until it is closed, however that comes; False where it is locked."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody can remove an open file there
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def reflink(source: int, target: int) -> bool:
    """Make an empty file share all bytes of another one, by descriptors; False where none can.

    Each keeps its own from then on: the file system copies what is written in either.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
