"""``undo``, ``redo`` and the operation log.

Owns their steps. Must not know the terminal.
"""

from collections.abc import Iterator

from theta.repo.opened import Opened
from theta_store.store import (
    Operation,
)


class Undoing(Opened):
    """The verbs of this file."""

    def operations(self) -> Iterator[Operation]:
        """Yield the operation log, newest first."""
        return self.store.operations()
