"""Volumes: LMDB environments that hold payload only, of at most 8 GiB each.

Owns their folders, the claim that makes one process the only writer of a volume, and the
arithmetic of what a payload costs on disk. Must not know which payloads are alive.

A volume's number is never used twice, so an environment that a process still has open can never be
mistaken for a newer one. Files of LMDB never shrink; a folder does, when a volume is unlinked.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from theta_store.db.environment import DATA_FILE, Environment, open_environment
from theta_store.db.filesystem import sync_folder
from theta_store.errors import IntegrityError, MissingObject, ThetaError
from theta_store.locks import OwnLock

if TYPE_CHECKING:
    from filelock import FileLock

VOLUME_BYTES = 8 << 30
PAGE = 4096
CLAIM_FILE = "claim"
# Room kept for branch pages, free lists and the copy-on-write of the last transactions.
HEADROOM = 64 << 20


def page_bytes(key: int, payload: int) -> int:
    """Estimate what a payload takes in a volume: overflow pages, or a share of a leaf page."""
    node = 8 + key + payload
    if node > PAGE // 2 - 10:
        return (16 + payload + PAGE - 1) // PAGE * PAGE + 64
    return node * 4 // 3


class Volume:
    """One volume, open in this process."""

    def __init__(self, number: int, folder: Path, *, readonly: bool, create: bool = False) -> None:
        self.number = number
        self.folder = folder
        self._environment: Environment = open_environment(
            folder, tables=("",), map_bytes=VOLUME_BYTES, readonly=readonly, create=create
        )

    @contextmanager
    def payload(self, key: bytes) -> Iterator[memoryview | None]:
        """Lend the payload of a key for the length of a ``with`` block."""
        with self._environment.read() as reader:
            yield reader.get("", key)

    def put(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store payloads in one synced transaction."""
        with self._environment.write() as writer:
            for key, payload in items:
                writer.put("", key, payload)

    def delete(self, keys: Iterable[bytes]) -> None:
        """Drop payloads; their pages are reused after the next small commits."""
        with self._environment.write() as writer:
            for key in keys:
                writer.delete("", key)
        for _ in range(3):
            # LMDB reuses pages only after later commits; on a full disk gc must end with them.
            with self._environment.write() as writer:
                writer.put("", b"tick", b"")
                writer.delete("", b"tick")

    def cut_off(self) -> None:
        """Drop what a killed process left behind the last page."""
        self._environment.cut_off()

    def keys(self) -> list[bytes]:
        """Return every key, without touching payload pages."""
        with self._environment.read() as reader:
            return list(reader.keys(""))

    def flaws(self) -> list[str]:
        """Return what is wrong with the pages of the file."""
        return self._environment.flaws()

    @property
    def used_bytes(self) -> int:
        """Bytes of the file up to the last page in use."""
        return self._environment.used_bytes

    @property
    def file_bytes(self) -> int:
        """Size of the volume's file."""
        return (self.folder / DATA_FILE).stat().st_size

    def close(self) -> None:
        """Give the environment back."""
        self._environment.release()


class Volumes:
    """The volumes of one store: opened on demand, claimed for writing."""

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        self.folder = folder
        self.readonly = readonly
        self._open: dict[int, Volume] = {}
        self._unlinked: list[Volume] = []
        self._lock = OwnLock()

    def numbers(self) -> list[int]:
        """Return the numbers of the volumes on disk."""
        return sorted(int(path.parent.name, 16) for path in self.folder.glob(f"*/{DATA_FILE}"))

    def has(self, number: int) -> bool:
        """Say whether a volume is on disk."""
        return (self.path(number) / DATA_FILE).exists()

    def file_bytes(self, number: int) -> int:
        """Return the size of a volume's file, whatever its state."""
        return (self.path(number) / DATA_FILE).stat().st_size

    def get(self, number: int) -> Volume:
        """Open a volume; one that is gone is a `MissingObject`."""
        with self._lock:
            volume = self._open.get(number)
            if volume is None:
                volume = self._open[number] = self._opened(number)
            return volume

    def is_sound(self, number: int) -> bool:
        """Say whether a volume opens and all its pages are sound: LMDB may be let into it.

        It takes 0.1 s for a GiB of large payloads, 4 s for one of the smallest.
        """
        try:
            return not self.get(number).flaws()
        except ThetaError:  # its head is broken, or gc has unlinked it meanwhile
            return False

    @contextmanager
    def payload(self, volume: int, key: bytes) -> Iterator[memoryview | None]:
        """Lend the payload of a key of a volume; one that is gone is a `MissingObject`."""
        with self.get(volume).payload(key) as found:
            yield found

    def create(self, number: int) -> "tuple[Volume, FileLock]":
        """Make a new volume and become its only writer; its number must never have been used.

        The claim comes before the data file: an unclaimed empty volume would be gc's to unlink.
        """
        folder = self.path(number)
        folder.mkdir()
        claim = _claim_file(folder)
        try:
            claim.acquire(blocking=False)
            with self._lock:
                volume = Volume(number, folder, readonly=False, create=True)
                self._open[number] = volume
            sync_folder(folder)
            sync_folder(self.folder)
        except BaseException:
            # On a full disk: a file of it that is cut short would look like damage. The claim is
            # given up last: whoever gets it while the file is there puts payload into it.
            self._remove(number)
            claim.release()
            raise
        return volume, claim

    def claim(self, number: int) -> "FileLock | None":
        """Become the only writer of a volume, or return None if another process is."""
        lock = _claim_file(self.path(number))
        try:
            lock.acquire(blocking=False)
        except (TimeoutError, FileNotFoundError, FileExistsError):
            # filelock's Timeout is a TimeoutError. It makes the folder, and does not expect that gc
            # takes it away again before it has looked.
            return None
        if not self.has(number):
            lock.release()
            return None
        return lock

    def unlink(self, number: int) -> None:
        """Remove a volume that is claimed; the disk gets its bytes back at the last close of it."""
        self._remove(number)

    def _remove(self, number: int) -> None:
        with self._lock:
            volume = self._open.pop(number, None)
            if volume is not None:
                # Another thread may be reading from the map; it is closed with the store.
                self._unlinked.append(volume)
        # The data file goes first: whoever takes the claim from then on sees that nothing is left.
        (self.path(number) / DATA_FILE).unlink(missing_ok=True)
        # Another process that tries the claim may put its file back meanwhile; an empty folder
        # is no volume.
        shutil.rmtree(self.path(number), ignore_errors=True)

    def close(self) -> None:
        """Give every environment back."""
        with self._lock:
            for volume in (*self._open.values(), *self._unlinked):
                volume.close()
            self._open.clear()
            self._unlinked.clear()

    def _opened(self, number: int) -> Volume:
        folder = self.path(number)
        gone = MissingObject(f"volume {number:08x} of {self.folder} is gone")
        if not (folder / DATA_FILE).exists():
            raise gone
        try:
            return Volume(number, folder, readonly=self.readonly)
        except IntegrityError:
            if not (folder / DATA_FILE).exists():  # gc unlinked it between the look and the open
                raise gone from None
            raise

    def path(self, number: int) -> Path:
        """Return the folder of a volume."""
        return self.folder / f"{number:08x}"


def _claim_file(folder: Path) -> "FileLock":
    from filelock import FileLock

    return FileLock(folder / CLAIM_FILE, thread_local=False, is_singleton=False)
