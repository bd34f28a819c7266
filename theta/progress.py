"""How long work tells that it goes on.

Owns the protocol that verbs report to and the silent one. Must not know terminals.
"""

from typing import Protocol


class Progress(Protocol):
    """Told what is being done and how many bytes of it are; from one thread at a time."""

    def begin(self, what: str, total: int) -> None:
        """Start a stage of ``total`` bytes."""

    def advance(self, done: int) -> None:
        """Count bytes as done."""


class Silent:
    """Tells nobody."""

    def begin(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, done: int) -> None:
        """Do nothing."""


SILENT: Progress = Silent()
