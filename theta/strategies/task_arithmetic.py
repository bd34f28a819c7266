"""``task-arithmetic``: the base and the weighted sum of what the sides made of it.

Owns the formula ``task-arithmetic/1`` (Ilharco et al. 2022), θ₀ + λ Σ wᵢ(θᵢ − θ₀), and the sum of
deltas that other strategies share. In the dtype of the block: each delta is rounded, each product
with a weight, each sum from the first side to the last; with ``normalize`` the sum is divided by
the sum of the weights; then it is multiplied by λ and added to the base, each step rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np

from theta.strategies.additions import added
from theta.strategies.base import (
    ConflictKind,
    Finite,
    Kernel,
    Linear,
    Needs,
    Strategy,
    Weights,
    shares_of,
    weights_of,
)
from theta.strategies.deltas import kernel_of
from theta.strategies.values import Floats, Values


@dataclass(frozen=True)
class Summation:
    """The weighted sum of deltas, divided by the sum of the weights if ``normalize``."""

    weights: Weights
    normalize: bool = False

    def merge(self, deltas: Sequence[Floats]) -> Floats:
        """Return the sum; the deltas are overwritten."""
        number = deltas[0].dtype.type
        for delta, weight in zip(deltas, self.weights, strict=True):
            if weight != 1:
                np.multiply(delta, number(weight), out=delta)
        total = deltas[0]
        for delta in deltas[1:]:
            np.add(total, delta, out=total)
        if self.normalize:
            np.divide(total, number(added(self.weights)), out=total)
        return total


class TaskArithmetic(Strategy, frozen=True):
    """The base and λ times the weighted sum of the deltas."""

    id: ClassVar[str] = "task-arithmetic"
    formula: ClassVar[str] = "task-arithmetic/1"
    needs: ClassVar[Needs] = Needs(base=True, least=1)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    weight: Weights = ()
    normalize: bool = False
    lambda_: Finite = msgspec.field(default=1.0, name="lambda")

    def check(self, count: int) -> None:
        """Refuse weights that sum to 0 where they are to be normalized."""
        super().check(count)
        if self.normalize:
            shares_of(self.weight, count, self.id)

    def prepare(self, values: Values) -> Kernel:
        """Return the sum; nothing needs to be known before."""
        merge = Summation(weights_of(self.weight, values.count), self.normalize).merge
        return kernel_of(lambda _, deltas: merge(deltas), self.lambda_)

    def linear(self, count: int, *, base: bool) -> Linear | None:
        """Return λwᵢ for each side and what is left to 1 for the base."""
        if not base:
            return None
        weights = weights_of(self.weight, count)
        if self.normalize:
            weights = shares_of(self.weight, count, self.id)
        sides = tuple(self.lambda_ * weight for weight in weights)
        return Linear(sides, 1 - added(sides))
