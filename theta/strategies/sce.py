"""``sce``: select where the sides differ most, weigh each side by its change, elect signs.

Owns the formula ``sce/1`` (Wan et al. 2024). In the dtype of the block: the variance of an element
over the sides is Σ(δᵢ − m)² / n with m = Σδᵢ / n, sums from the first side to the last. Kept are
the ⌊select_topk × (elements whose variance is not 0)⌋ of greatest variance, one at least if there
is any; with select_topk = 1 all elements. The weight of a side is its Σδᵢ² over the kept elements
divided by that of all sides, in float64 (`Total`); where all are 0, or too large, the weights are
equal. The sign is elected without weights; the weighted sum of those that agree is divided by the
sum of their weights (`Election`) and added to the base.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from theta.strategies.additions import added
from theta.strategies.base import ConflictKind, Kernel, Needs, Share, Strategy
from theta.strategies.deltas import into_deltas, kernel_of
from theta.strategies.election import Election
from theta.strategies.sums import Total
from theta.strategies.trimming import Cut, count_of, greatest, keep_only
from theta.strategies.values import Block, Floats, Values


class Sce(Strategy, frozen=True):
    """Select, calculate weights, erase what disagrees; it takes no weights."""

    id: ClassVar[str] = "sce"
    formula: ClassVar[str] = "sce/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    select_topk: Share = 1.0

    def prepare(self, values: Values) -> Kernel:
        """Find the cut by variance, then the weights."""
        cut = Cut() if self.select_topk == 1 else self._cut(values)
        if cut is None:
            return lambda block: block.base if block.base is not None else block.sides[0]
        election = Election(_weights(values, cut), "weights", weigh_first=False)

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            return election.merge(_selected(cut, start, deltas))

        return kernel_of(merge, 1.0)

    def _cut(self, values: Values) -> Cut | None:
        """Return the least variance that is kept; None where there is none but 0."""
        differing = sum(int(np.count_nonzero(_variances(b)[0])) for b in values.blocks())
        if not differing:
            return None
        return greatest(values, _variances, [(0, count_of(self.select_topk, differing))])[0]


def _variance(deltas: Sequence[Floats]) -> Floats:
    """Return the variance of each element over the sides; the deltas stay."""
    number = deltas[0].dtype.type
    count = number(len(deltas))
    mean = deltas[0].copy()
    for delta in deltas[1:]:
        np.add(mean, delta, out=mean)
    np.divide(mean, count, out=mean)
    variance = np.zeros_like(mean)
    for delta in deltas:
        np.add(variance, np.square(delta - mean), out=variance)
    return np.divide(variance, count, out=variance)


def _variances(block: Block) -> tuple[Floats]:
    """Return the one stream that is cut."""
    with np.errstate(all="ignore"):
        return (_variance(into_deltas(block)),)


def _selected(cut: Cut, start: int, deltas: Sequence[Floats]) -> Sequence[Floats]:
    """Set what is not kept to 0, in place."""
    if not cut.keeps_all:
        kept = cut.kept(_variance(deltas), start)
        for delta in deltas:
            keep_only(delta, kept)
    return deltas


def _weights(values: Values, cut: Cut) -> tuple[float, ...]:
    totals = [Total() for _ in range(values.count)]
    with np.errstate(all="ignore"):
        for block in values.blocks():
            for total, delta in zip(
                totals, _selected(cut, block.start, into_deltas(block)), strict=True
            ):
                total.add(np.square(delta, dtype=np.float64))
        changes = [total.value for total in totals]
    whole = added(changes)
    if whole == 0 or not np.isfinite(whole):
        return (1 / values.count,) * values.count
    return tuple(change / whole for change in changes)
