"""``magmax``: of each element the greatest change.

Owns the formula ``magmax/1`` (Marczak et al. 2024): θ₀ + λ δ, δ the delta of greatest magnitude of
an element, of equal ones that of the later side. The delta is rounded to the dtype of the block,
the product with λ, and the sum.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
import numpy as np

from theta.strategies.base import ConflictKind, Finite, Kernel, Needs, Strategy
from theta.strategies.deltas import kernel_of
from theta.strategies.values import Floats, Values


class MagMax(Strategy, frozen=True):
    """The base and λ times the greatest delta; it takes no weights."""

    id: ClassVar[str] = "magmax"
    formula: ClassVar[str] = "magmax/1"
    needs: ClassVar[Needs] = Needs(base=True)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    lambda_: Finite = msgspec.field(default=1.0, name="lambda")

    def prepare(self, values: Values) -> Kernel:
        """Return the choice; nothing needs to be known before."""
        del values
        return kernel_of(lambda _, deltas: _greatest(deltas), self.lambda_)


def _greatest(deltas: Sequence[Floats]) -> Floats:
    first, *others = deltas
    size = np.abs(first)
    for delta in others:
        own = np.abs(delta)
        np.copyto(first, delta, where=own >= size)
        np.maximum(size, own, out=size)
    return first
