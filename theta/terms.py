"""The algebra of merging: what several sides made of their bases.

Owns `Terms` and its resolution without arithmetic. Must not know what the values are: ids, entries
or arrays. The idea of a merge as data is jj's (jj-lib, ``merge.rs``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Literal, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Mark(Enum):
    """Values that are no values."""

    ABSENT = "absent"
    OPEN = "open"


ABSENT: Final = Mark.ABSENT
OPEN: Final = Mark.OPEN
Absent = Literal[Mark.ABSENT]
Open = Literal[Mark.OPEN]


@dataclass(frozen=True)
class Terms(Generic[T]):
    """The inputs of a merge of one thing: the sides, ours first, and what they came from."""

    sides: tuple[T, ...]
    bases: tuple[T, ...]

    def resolve(self) -> T | Open:
        """Return what the terms settle to without arithmetic, else `OPEN`.

        A side that equals the base gives way to one that changed it; equal changes count once.
        Bases that differ settle nothing unless the sides agree.
        """
        if all(side == self.sides[0] for side in self.sides):
            return self.sides[0]
        if any(base != self.bases[0] for base in self.bases):
            return OPEN
        changed = [side for side in self.sides if side != self.bases[0]]
        return changed[0] if all(side == changed[0] for side in changed) else OPEN

    def map(self, function: Callable[[T], U]) -> "Terms[U]":
        """Return the terms of what a function makes of each."""
        return Terms(tuple(map(function, self.sides)), tuple(map(function, self.bases)))
