"""What the file system under the store can promise.

Owns free space, the refusal of network file systems (LMDB's locks and maps are not safe there,
not even between processes of one host), and durable folder entries. Must not know LMDB.
"""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from theta_store.errors import NetworkFileSystem

NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "9p", "afs", "ceph", "gpfs", "beegfs"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.juicefs"}
)
# More than a transaction of payload takes: what did not fit of one is free again afterwards.
_ROOM = 64 << 20
_MOUNTS = Path("/proc/self/mounts")


def free_bytes(folder: Path) -> int:
    """Return the bytes that an ordinary user may still write under ``folder``."""
    return shutil.disk_usage(folder).free


def has_room(file: Path) -> bool:
    """Say whether a file may grow by a transaction: on its disk, and under the process's limit."""
    return free_bytes(file.parent) >= _ROOM and file.stat().st_size + _ROOM <= _size_limit()


def _size_limit() -> float:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def file_system_type(folder: Path, mounts: str) -> str:
    """Return the type of the mount that holds ``folder``, by a table in the form of fstab."""
    best, kind = "", ""
    real = str(folder.resolve())
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def check_local(folder: Path) -> None:
    """Refuse a network file system; where the system has no mount table, trust it."""
    if not _MOUNTS.exists():
        return
    kind = file_system_type(folder, _MOUNTS.read_text())
    if kind in NETWORK_TYPES:
        raise NetworkFileSystem(
            f"{folder} is on a network file system ({kind}), where a store could be damaged; "
            "nothing was written; the store may lie on a local disk instead",
            hint="theta init --store DIR",
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process says this of a folder; it leaves no file there."""
    try:
        import fcntl
    except ImportError:  # Windows cannot lock a folder
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def reserve(file: Path, size: int) -> None:
    """Give a file that is empty or not there its bytes; on a full disk it is not made.

    A map of a file whose bytes are not on the disk yet kills the process when the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not os.fstat(descriptor).st_size:
            os.posix_fallocate(descriptor, 0, size)
    except OSError:
        # What is left of it is empty, or sparse.
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
