"""The ``meta`` environment: everything but payload.

Owns the names of the tables and the map that never needs resizing. Must not know what the values
mean.
"""

from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

from theta_store.db.environment import Environment, Reader, Writer, open_environment

MAP_BYTES = 1 << 40


class Table(StrEnum):
    """The tables of ``meta``; names are on disk and append-only."""

    SETTINGS = "settings"
    RECORDS = "records"
    CHUNKS = "chunks"
    DEPENDANTS = "dependants"
    REFS = "refs"
    OPERATIONS = "operations"
    NOTES = "notes"
    EXPIRIES = "expiries"
    LEASES = "leases"
    SKETCHES = "sketches"
    WORKSPACES = "workspaces"


class Meta:
    """Read and write transactions over the tables of ``meta``."""

    def __init__(self, folder: Path, *, readonly: bool = False, create: bool = False) -> None:
        self.folder = folder
        self.readonly = readonly
        self._environment: Environment = open_environment(
            folder, tables=tuple(Table), map_bytes=MAP_BYTES, readonly=readonly, create=create
        )

    def read(self, *, remember: bool = False) -> AbstractContextManager[Reader]:
        """Open a read transaction.

        With ``remember``, what was read and verified in this state of ``meta`` is not read again:
        for those who ask for the same again and again.
        """
        return self._environment.read(remember=remember)

    def write(self) -> AbstractContextManager[Writer]:
        """Open the write transaction of ``meta``."""
        return self._environment.write()

    @property
    def used_bytes(self) -> int:
        """Bytes of the file in use."""
        return self._environment.used_bytes

    def flaws(self) -> list[str]:
        """Return what is wrong with the pages of the file."""
        return self._environment.flaws()

    def close(self) -> None:
        """Give the environment back."""
        self._environment.release()
