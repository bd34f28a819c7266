"""``consensus``: keep the elements that enough sides care about.

Owns the formula ``consensus/1`` (TALL masks and consensus merging, Wang et al. 2024). With τ the
weighted sum of the deltas as in ``task-arithmetic``, a side cares about an element where
|δ| > threshold · |τ − δ|, δ without its weight. Where at least ``k`` sides do, the element becomes
θ₀ + λτ, elsewhere θ₀. In the dtype of the block, each step rounded.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from theta.strategies.base import (
    AtLeastZero,
    ConflictKind,
    Finite,
    Kernel,
    Needs,
    Strategy,
    Weights,
    weights_of,
)
from theta.strategies.deltas import kernel_of
from theta.strategies.task_arithmetic import Summation
from theta.strategies.trimming import keep_only
from theta.strategies.values import Floats, Values
from theta_store.errors import UsageError


class Consensus(Strategy, frozen=True):
    """The sum of the deltas where at least ``k`` sides care."""

    id: ClassVar[str] = "consensus"
    formula: ClassVar[str] = "consensus/1"
    needs: ClassVar[Needs] = Needs(base=True)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    k: Annotated[int, msgspec.Meta(ge=1)] = 2
    threshold: AtLeastZero = 0.6
    weight: Weights = ()
    lambda_: Finite = msgspec.field(default=1.0, name="lambda")

    def check(self, count: int) -> None:
        """Refuse a ``k`` that the sides cannot reach."""
        super().check(count)
        if self.k > count:
            raise UsageError(f"consensus: k={self.k}, but there are {count} sides")

    def prepare(self, values: Values) -> Kernel:
        """Return the masked sum; nothing needs to be known before."""
        summation = Summation(weights_of(self.weight, values.count))

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            del start
            merged = summation.merge([delta.copy() for delta in deltas])
            threshold = merged.dtype.type(self.threshold)
            caring = np.zeros(len(merged), np.intp)
            for delta in deltas:
                rest = np.abs(merged - delta)
                np.multiply(rest, threshold, out=rest)
                caring += np.abs(delta) > rest
            return keep_only(merged, caring >= self.k)

        return kernel_of(merge, self.lambda_)
