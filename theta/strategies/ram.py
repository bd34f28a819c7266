"""``ram``: keep what one side alone changed whole, average what several changed.

Owns the formula ``ram/1`` (Reinforced Agent Merging, arXiv 2601.13572). A side takes part in an
element where |δ| > epsilon, both rounded to the dtype of the block. An element in which one side
takes part gets its δ, times the side's factor; one with c > 1 of them gets Σ(δ / c), from the first
side to the last, each step rounded. That is added to the base.

The factor is 1 + r · min(ρ, alpha), in float64, ρ the number of elements that a side shares with
others divided by the number that it has for itself; 1 where r is 0, the default.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import AtLeastZero, ConflictKind, Kernel, Needs, Strategy
from theta.strategies.deltas import into_deltas, kernel_of
from theta.strategies.values import Floats, Values


class Ram(Strategy, frozen=True):
    """The union of sparse changes; ``r`` above 0 strengthens what a side has for itself."""

    id: ClassVar[str] = "ram"
    formula: ClassVar[str] = "ram/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    epsilon: AtLeastZero = 1e-5
    r: AtLeastZero = 0.0
    alpha: AtLeastZero = 0.2

    def prepare(self, values: Values) -> Kernel:
        """Count what is shared; where r is 0, nothing needs to be known before."""
        factors = self._factors(values) if self.r else (1.0,) * values.count

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            del start
            parts, count = self._parts(deltas)
            alone = count == 1
            number = deltas[0].dtype.type
            divisor = np.maximum(count, 1).astype(deltas[0].dtype)
            merged = np.zeros_like(deltas[0])
            for delta, part, factor in zip(deltas, parts, factors, strict=True):
                np.divide(delta, divisor, out=delta)
                if factor != 1:
                    np.multiply(delta, number(factor), out=delta, where=alone)
                np.add(merged, delta, out=merged, where=part)
            return merged

        return kernel_of(merge, 1.0)

    def _parts(self, deltas: Sequence[Floats]) -> tuple[list[NDArray[np.bool_]], NDArray[np.intp]]:
        """Say where each side takes part, and how many do."""
        least = deltas[0].dtype.type(self.epsilon)
        parts = [np.abs(delta) > least for delta in deltas]
        count = np.zeros(len(deltas[0]), np.intp)
        for part in parts:
            count += part
        return parts, count

    def _factors(self, values: Values) -> tuple[float, ...]:
        shared, alone = np.zeros((2, values.count), np.int64)
        for block in values.blocks():
            parts, count = self._parts(into_deltas(block))
            shared += [np.count_nonzero(part & (count > 1)) for part in parts]
            alone += [np.count_nonzero(part & (count == 1)) for part in parts]
        ratios = shared / np.maximum(alone, 1)
        return tuple(float(1 + self.r * min(ratio, self.alpha)) for ratio in ratios)
