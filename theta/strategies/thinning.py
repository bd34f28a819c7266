"""What the strategies share that thin out deltas before they merge them.

Owns their weights, and whether the deltas that are left are added up or elect signs. Must not know
which elements are dropped.
"""

from typing import ClassVar

import msgspec

from theta.strategies.base import (
    ConflictKind,
    Finite,
    Needs,
    Strategy,
    Weights,
    shares_of,
    weights_of,
)
from theta.strategies.election import Election
from theta.strategies.task_arithmetic import Summation


class Thinning(Strategy, frozen=True):
    """Thin out each delta, then merge as ``task-arithmetic`` does, or as ``ties`` (``elects``)."""

    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    elects: ClassVar[bool] = False
    weight: Weights = ()
    normalize: bool = False
    lambda_: Finite = msgspec.field(default=1.0, name="lambda")

    def check(self, count: int) -> None:
        """Refuse weights that sum to 0 where all deltas are divided by that."""
        super().check(count)
        if self.normalize and not self.elects:
            shares_of(self.weight, count, self.id)

    def merger(self, count: int) -> Summation | Election:
        """Return how the deltas that are left are merged."""
        weights = weights_of(self.weight, count)
        if self.elects:
            return Election(weights, "weights" if self.normalize else "none")
        return Summation(weights, self.normalize)
