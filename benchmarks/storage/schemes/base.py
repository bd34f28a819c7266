"""What every scheme is: a name, what kind of evidence it is, and a function of a history.

Owns these shapes. Must not know any scheme.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.storage.histories import History

Kind = Literal["real", "re-implementation", "bound", "arithmetic"]


class Unavailable(Exception):
    """The scheme cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Cost:
    """Bytes that a commit adds; ``embedding`` is None where a scheme does not know tensors."""

    total: int
    embedding: int | None = None

    @property
    def rest(self) -> int | None:
        """The bytes of everything that is not the embedding."""
        return None if self.embedding is None else self.total - self.embedding


@dataclass(frozen=True)
class Measured:
    """The costs of the commits of one history, in order, and what a reader must know of them."""

    costs: tuple[Cost, ...]
    note: str = ""


@dataclass(frozen=True)
class Scheme:
    """A column of the table; raises `Unavailable` where it cannot be measured.

    ``only``: the one history it is measured on, None for all.
    """

    name: str
    kind: Kind
    about: str
    measure: Callable[[History], Measured]
    only: str | None = None
