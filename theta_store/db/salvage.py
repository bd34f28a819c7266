"""Reading a damaged data file: what its pages still let through.

Owns a reader that never touches LMDB, for fsck. Must not know what keys and values mean.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from theta_store.db.environment import DATA_FILE, Key, Reader
from theta_store.db.pages import Extent, Pages


class Salvage(Reader):
    """A read transaction over what can be reached; keys of all tables are in memory."""

    def __init__(self, pages: Pages) -> None:
        self.memo = None
        self._pages = pages
        self._found = pages.tables()

    def get(self, table: str, key: bytes) -> memoryview | None:
        """Return the value of a key, or None."""
        extent = self._rows(table).get(key)
        return None if extent is None else memoryview(self._pages.read(extent))

    def lacking(self, table: str, keys: Iterable[Key]) -> set[Key]:
        """Return those of some keys that have no value."""
        return set(keys) - self._rows(table).keys()

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Yield keys and values from ``start`` on, in the order of the keys' bytes."""
        for key in self.keys(table, start):
            yield key, memoryview(self._pages.read(self._rows(table)[key]))

    def keys(self, table: str, start: bytes = b"") -> Iterator[bytes]:
        """Yield keys from ``start`` on."""
        return iter(sorted(key for key in self._rows(table) if key >= start))

    def last(self, table: str) -> tuple[bytes, memoryview] | None:
        """Return the item with the greatest key."""
        rows = self._rows(table)
        if not rows:
            return None
        key = max(rows)
        return key, memoryview(self._pages.read(rows[key]))

    def count(self, table: str) -> int:
        """Return the number of items of a table."""
        return len(self._rows(table))

    @property
    def number(self) -> int:
        """The transaction's number."""
        return self._pages.head.transaction

    def _rows(self, table: str) -> dict[bytes, Extent]:
        return self._found.get(str(table), {})


@contextmanager
def salvage(folder: Path) -> Iterator[Salvage]:
    """Lend a reader of what can be reached in the data file of a folder."""
    pages = Pages(folder / DATA_FILE)
    try:
        yield Salvage(pages)
    finally:
        pages.close()
