"""A user's file, read by position, and the tensors that lie in it.

Owns the open file and the two kinds of source: contiguous bytes, and elements that have to be
gathered. Must not know formats, layouts or the store; a source fits ``theta_store``'s protocol
by its shape.
"""

import os
import stat as modes
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from theta.formats import order
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile, MalformedRecord, ResourceError, UnknownFile

# A pipe would block the opener for ever; opened this way it is seen by fstat and refused.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_POSITIONAL = hasattr(os, "preadv")


class Source(Protocol):
    """Plain bytes of a tensor, little-endian, C order, read by position from any thread."""

    @property
    def dtype(self) -> str:
        """Name of the dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""


class FileReader:
    """An open regular file, read by position from any thread."""

    path: Path
    size: int
    stat: os.stat_result

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise UnknownFile(f"{path} does not exist") from None
        except OSError as error:
            raise ResourceError(f"{path} cannot be read: {error.strerror}") from None
        self.stat = os.fstat(descriptor)
        self.size = self.stat.st_size
        if not modes.S_ISREG(self.stat.st_mode):
            os.close(descriptor)
            raise MalformedFile(f"{path} is not a regular file")
        self._raw = open(descriptor, "rb", buffering=0)  # noqa: PTH123, SIM115
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._raw.close()

    def read(self, start: int, length: int) -> bytes:
        """Return exactly these bytes; a file that ends before them is a `MalformedFile`."""
        self._check(start, length)
        out = bytearray(length)
        self.read_into(start, memoryview(out))
        return bytes(out)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start``; too short a file is a `MalformedFile`."""
        self._check(start, out.nbytes)
        out = out.cast("B")
        done = 0
        while done < len(out):
            got = self._read_at(start + done, out[done:])
            if not got:
                raise MalformedFile(f"{self.path} became shorter while it was read")
            done += got

    def unchanged(self) -> bool:
        """Say whether the file is still the one that was opened, with the same times and size."""
        now, then = os.fstat(self._raw.fileno()), self.stat
        return (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) == (
            then.st_size,
            then.st_mtime_ns,
            then.st_ctime_ns,
            then.st_ino,
        )

    def _check(self, start: int, length: int) -> None:
        # Checked before anything is allocated: a lying header must not decide how much.
        if start < 0 or length < 0 or start + length > self.size:
            raise MalformedFile(
                f"{self.path} is shorter than it says: bytes {start} to {start + length} are "
                f"expected, it has {self.size}"
            )

    def _read_at(self, start: int, out: memoryview) -> int:
        try:
            if _POSITIONAL:
                return os.preadv(self._raw.fileno(), [out], start)
            with self._lock:
                self._raw.seek(start)
                return self._raw.readinto(out) or 0
        except OSError as error:
            raise ResourceError(f"{self.path} cannot be read: {error.strerror}") from None


class FileSource(msgspec.Struct, frozen=True, gc=False):
    """A tensor whose bytes lie in one run of a file, from ``start``.

    ``swap`` is the width of the words that the file holds the other way round; 0 for none.
    """

    file: FileReader
    dtype: str
    shape: tuple[int, ...]
    start: int
    swap: int = 0

    @property
    def run(self) -> tuple[FileReader, int] | None:
        """Where the plain bytes lie as they are: the store reads neighbours in one go."""
        return (self.file, self.start) if self.swap <= 1 else None

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""
        if self.swap <= 1:
            self.file.read_into(self.start + start, out)
            return
        before = start % self.swap
        after = -(start + out.nbytes) % self.swap
        words = self.file.read(self.start + start - before, before + out.nbytes + after)
        turned = order.swapped(np.frombuffer(words, np.uint8), self.swap)
        out.cast("B")[:] = turned.data[before : len(turned) - after]


@dataclass(slots=True)
class _Copy:
    """The gathered bytes, while somebody still wants them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    plain: NDArray[np.uint8] | None = None
    served: int = 0


@dataclass(frozen=True, slots=True)
class GatheredSource:
    """A tensor whose elements lie apart, permuted or turned round in a region of a file.

    The region is ``length`` bytes from ``start``; element [i, j, …] lies at
    ``i * strides[0] + j * strides[1] + …`` bytes of it. ``swap`` is as in `FileSource`.
    The tensor is gathered once, at the first reading, and dropped when as many bytes as it has
    were served, so that only tensors that are being read cost memory.
    """

    file: FileReader
    dtype: str
    shape: tuple[int, ...]
    start: int
    length: int
    strides: tuple[int, ...]
    swap: int = 0
    _copy: _Copy = field(default_factory=_Copy, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            order.check_fit(self.length, dtype(self.dtype), self.shape, self.strides)
        except MalformedRecord as error:
            raise MalformedFile(f"{self.file.path}: {error.message}") from None

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""
        stop = start + out.nbytes
        with self._copy.lock:
            plain = self._copy.plain
            if plain is None:
                plain = self._copy.plain = self._gather()
            self._copy.served += out.nbytes
            if self._copy.served >= len(plain):
                self._copy.plain, self._copy.served = None, 0
        if not 0 <= start <= stop <= len(plain):
            raise MalformedFile(f"bytes {start} to {stop} lie outside a tensor of {len(plain)}")
        out.cast("B")[:] = plain.data[start:stop]

    def _gather(self) -> NDArray[np.uint8]:
        region = self.file.read(self.start, self.length)
        plain = order.gather(region, dtype(self.dtype), self.shape, self.strides)
        return order.swapped(plain, self.swap)
