"""Pages of a data file, read without LMDB.

LMDB trusts what it maps: a page that a flipped bit makes point past the end of the file kills the
process. Owns the layout of the files of LMDB 0.9 on 64-bit machines, the check of the pages that
opening a file follows, and the way to the values of a damaged file that can still be reached. Must
not know what keys and values mean.
"""

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from theta_store.errors import IntegrityError

MAGIC = 0xBEEFC0DE
DATA_VERSION = 1
BRANCH, LEAF, OVERFLOW = 1, 2, 4
BIG, TABLE = 1, 2
INTEGER_KEYS = 8
PAGE_SIZES = frozenset(1 << bits for bits in range(9, 16))
# A file that is shorter than two pages, meta pages both, was never finished.
HEAD_BYTES = 2 * 4096
TRIES = 40
PAUSE_SECONDS = 0.0025

_PAGE = struct.Struct("=QHHHH")  # number, padding, flags, lower, upper
_RUN = struct.Struct("=QHHI")  # the same of an overflow page: number, padding, flags, pages
_NODE = struct.Struct("=HHHH")  # size or child, two halves; flags; bytes of the key
_META = struct.Struct("=II16x")  # magic, version, address and size of the map
_TREE = struct.Struct("=IHH32xQ")  # page size, flags, depth, four counts, root
_TAIL = struct.Struct("=QQ")  # last page, transaction
_META_BYTES = _PAGE.size + _META.size + 2 * _TREE.size + _TAIL.size
_EMPTY = (1 << 64) - 1


class Extent(NamedTuple):
    """Where a value lies in the file, in bytes."""

    start: int
    size: int


class _Node:
    """An entry of a page: a child, or data that starts at ``at`` of the page."""

    # Plain classes here: every start of the program pays for what makes clever ones.
    __slots__ = ("at", "child", "flags", "key", "size")

    def __init__(self, key: bytes, flags: int, at: int, size: int, child: int | None) -> None:
        self.key, self.flags, self.at, self.size, self.child = key, flags, at, size, child


class _Page:
    """A page of a tree, and where its nodes start."""

    __slots__ = ("data", "flags", "number", "starts", "upper")

    def __init__(
        self, number: int, data: bytes, flags: int, upper: int, starts: tuple[int, ...]
    ) -> None:
        self.number, self.data, self.flags = number, data, flags
        self.upper, self.starts = upper, starts

    def node(self, start: int) -> _Node:
        """Return a node; one that leaves the page is refused."""
        if not self.upper <= start <= len(self.data) - _NODE.size:
            raise IntegrityError(f"page {self.number} points outside itself")
        low, high, flags, key_bytes = _NODE.unpack_from(self.data, start)
        at = start + _NODE.size + key_bytes
        size = low | high << 16
        child = size | flags << 32 if self.flags == BRANCH else None
        inside = 0 if child is not None else 8 if flags & BIG else size
        if at + inside > len(self.data):
            raise IntegrityError(f"page {self.number} has an entry that leaves it")
        return _Node(self.data[at - key_bytes : at], flags, at, size, child)


class Head(msgspec.Struct, frozen=True):
    """The newest of the two meta pages."""

    page_bytes: int
    last: int
    transaction: int
    free: int
    root: int


class Pages:
    """A data file, open for reading by position from any thread."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._lock = threading.Lock()
        try:
            self.head = self._head()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, extent: Extent) -> bytes:
        """Return the bytes of a value, fewer where the file has become shorter."""
        return self._at(extent.start, extent.size)

    def check_root(self) -> None:
        """Refuse a root page of the main tree that LMDB must not follow."""
        if self.head.root == _EMPTY:
            return
        page = self._page(self.head.root)
        for start in page.starts:
            node = page.node(start)
            if node.child is None and node.flags & TABLE:
                self._tree(page.data[node.at :], 0)

    def tables(self) -> dict[str, dict[bytes, Extent]]:
        """Return where the values of every table lie, of the main tree under ``""``.

        What lies below a broken page is left out.
        """
        found: dict[str, dict[bytes, Extent]] = {"": {}}
        for node, extent in self._values(self.head.root):
            if node.flags & TABLE and extent.size == _TREE.size:
                root = _TREE.unpack(self.read(extent))[-1]
                name = node.key.decode(errors="replace")
                found[name] = {inner.key: value for inner, value in self._values(root)}
            else:
                found[""][node.key] = extent
        return found

    def _values(self, root: int) -> Iterator[tuple[_Node, Extent]]:
        seen: set[int] = set()
        stack = [root]
        while stack:
            number = stack.pop()
            if number == _EMPTY or number in seen:
                continue
            seen.add(number)
            for node in self._sound_nodes(number):
                if node.child is not None:
                    stack.append(node.child)
                    continue
                extent = self._extent(number, node)
                if extent is not None:
                    yield node, extent

    def _sound_nodes(self, number: int) -> Iterator[_Node]:
        try:
            page = self._page(number)
        except IntegrityError:
            return
        for start in page.starts:
            with suppress(IntegrityError):
                yield page.node(start)

    def _extent(self, number: int, node: _Node) -> Extent | None:
        start = number * self.head.page_bytes
        if not node.flags & BIG:
            return Extent(start + node.at, node.size)
        first = int.from_bytes(self._at(start + node.at, 8), "little")
        place = first * self.head.page_bytes
        head = self._at(place, _RUN.size)
        if len(head) < _RUN.size or _RUN.unpack(head)[::2] != (first, OVERFLOW):
            return None
        extent = Extent(place + _RUN.size, node.size)
        return extent if extent.start + extent.size <= self._size else None

    def _page(self, number: int) -> _Page:
        """Return a page of a tree, its bounds checked."""
        if not 2 <= number <= self.head.last:
            raise IntegrityError(f"page {number} lies outside the file")
        data = self._at(number * self.head.page_bytes, self.head.page_bytes)
        if len(data) < self.head.page_bytes:
            raise IntegrityError(f"page {number} lies outside the file")
        own, _, flags, lower, upper = _PAGE.unpack_from(data)
        if own != number or flags not in {BRANCH, LEAF}:
            raise IntegrityError(f"page {number} is not what it should be")
        if not _PAGE.size <= lower <= upper <= len(data) or lower % 2:
            raise IntegrityError(f"page {number} has impossible bounds")
        starts = struct.unpack_from(f"={(lower - _PAGE.size) // 2}H", data, _PAGE.size)
        return _Page(number, data, flags, upper, starts)

    def _head(self) -> Head:
        first = self._meta(0, 0)
        second = self._meta(1, first.page_bytes)
        older, newer = sorted((first, second), key=lambda head: head.transaction)
        # Transaction n is written to page n % 2, so the two are neighbours. Where they are not, one
        # is damaged, and LMDB might take the older for the newer: the pages that each transaction
        # has freed, listed under its number, tell.
        if newer.transaction > 1 and newer.transaction - older.transaction != 1:
            self.head = newer
            freed = [int.from_bytes(node.key, "little") for node, _ in self._values(newer.free)]
            if newer.transaction != max(freed, default=0):
                raise IntegrityError("the two meta pages do not follow each other")
        return newer

    def _meta(self, number: int, page_bytes: int) -> Head:
        data = self._at(number * page_bytes, _META_BYTES)
        if len(data) < _META_BYTES:
            raise IntegrityError(f"meta page {number} is missing")
        magic, version = _META.unpack_from(data, _PAGE.size)
        at = _PAGE.size + _META.size
        size = _TREE.unpack_from(data, at)[0]
        last, transaction = _TAIL.unpack_from(data, at + 2 * _TREE.size)
        if (magic, version) != (MAGIC, DATA_VERSION) or size not in PAGE_SIZES:
            raise IntegrityError(f"meta page {number} is not one")
        if page_bytes not in {0, size} or (transaction > 1 and transaction % 2 != number):
            raise IntegrityError(f"meta page {number} is damaged")
        free = self._tree(data[at:], INTEGER_KEYS)
        root = self._tree(data[at + _TREE.size :], 0)
        return Head(size, last, transaction, free, root)

    def _tree(self, data: bytes, flags: int) -> int:
        """Return the root of a tree; one of another kind than theta makes is broken."""
        if len(data) < _TREE.size or _TREE.unpack_from(data)[1] != flags:
            raise IntegrityError("a table is damaged")
        return int(_TREE.unpack_from(data)[-1])

    def _at(self, start: int, size: int) -> bytes:
        if start + size > self._size:
            return b""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


def check_head(path: Path) -> None:
    """Refuse a data file that could kill the process as soon as LMDB opens it.

    Another process may write meanwhile: only what stays broken is.
    """
    if struct.calcsize("P") != 8:
        return
    for attempt in range(TRIES):
        try:
            pages = Pages(path)
            try:
                pages.check_root()
            finally:
                pages.close()
            return
        except IntegrityError as error:
            if attempt == TRIES - 1:
                raise IntegrityError(
                    f"{path} is damaged: {error}",
                    hint="restore the file from a backup, then run theta fsck",
                ) from None
            time.sleep(PAUSE_SECONDS)
