"""``ours``, ``theirs`` and ``base``: one term as it is.

Owns the three picking strategies. They need no values: the engine takes the term by its id.
"""

from typing import ClassVar, get_args

from theta.strategies.base import ConflictKind, Needs, Strategy


class Pick(Strategy, frozen=True):
    """Take one term, whatever the conflict is."""

    needs: ClassVar[Needs] = Needs(least=1)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset(get_args(ConflictKind))


class Ours(Pick, frozen=True):
    """Take what HEAD has."""

    id: ClassVar[str] = "ours"
    formula: ClassVar[str] = "ours/1"


class Theirs(Pick, frozen=True):
    """Take what the merged branch has; of several branches the first."""

    id: ClassVar[str] = "theirs"
    formula: ClassVar[str] = "theirs/1"


class Base(Pick, frozen=True):
    """Take what all came from: no change is kept."""

    id: ClassVar[str] = "base"
    formula: ClassVar[str] = "base/1"
    needs: ClassVar[Needs] = Needs(least=1, base=True)
