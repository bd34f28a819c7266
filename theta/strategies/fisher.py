"""``fisher``: each element is the mean of the sides, weighed by what each knows of it.

Owns the formula ``fisher/1`` (Matena and Raffel 2022): of each side the diagonal of its Fisher
information, in the dtype of the block, times 1 over the norm of that side's Fisher information
over the whole model (unless ``normalize`` is off; the quotient is made in float64 and rounded), at
least ``floor`` and at most the square root of the largest number of the dtype, times the side's
weight; where all are 0, the weights alone. These numbers are added in canonical order, each is
divided by the sum, multiplied by its side, and the products are added in canonical order. Each
step is rounded. A NaN of a Fisher information says nothing: it counts as the floor.
"""

from typing import ClassVar

import numpy as np

from theta.strategies.base import (
    AtLeastZero,
    Kernel,
    Needs,
    Strategy,
    Weights,
    weights_of,
)
from theta.strategies.values import Block, Evidence, Floats, Values
from theta_store.errors import UsageError


class Fisher(Strategy, frozen=True):
    """The mean of the sides, weighed element by element by Fisher information.

    ``favor_target``: the sides that the floor is for, one truth value each; what no side knows
    anything of is then theirs. None given: it is for all.
    """

    id: ClassVar[str] = "fisher"
    formula: ClassVar[str] = "fisher/1"
    needs: ClassVar[Needs] = Needs(statistics=("fisher",))
    weight: Weights = ()
    floor: AtLeastZero = 1e-6
    normalize: bool = True
    favor_target: tuple[bool, ...] = ()

    def check(self, count: int) -> None:
        """Refuse weights below 0, and weights that are all 0."""
        super().check(count)
        weights = weights_of(self.weight, count)
        if min(weights) < 0 or max(weights) <= 0:
            raise UsageError("fisher: weights are at least 0, and one is more")

    def prepare(self, values: Values) -> Kernel:
        """Return the weighted mean; a Fisher information of another shape is a `UsageError`."""
        weights = weights_of(self.weight, values.count)
        floored = self.favor_target or (True,) * values.count
        sides = values.statistic("fisher")
        for side in sides:
            if side.shape != values.shape:
                raise UsageError(
                    f"{values.name}: its Fisher information has shape {side.shape}, "
                    f"it has {values.shape}"
                )

        def kernel(block: Block) -> Floats:
            known = [
                self._knowledge(side, block, self.floor if floor else 0.0, weight)
                for side, floor, weight in zip(sides, floored, weights, strict=True)
            ]
            return _weighted_mean(block.sides, known, weights)

        return kernel

    def _knowledge(self, side: Evidence, block: Block, floor: float, weight: float) -> Floats:
        """Return what one side's elements count, before they are divided by the sum."""
        number = block.sides[0].dtype.type
        known = np.empty_like(block.sides[0])
        known[:] = side.read(block.start, block.stop)
        if self.normalize and side.norm > 0:
            known *= number(1 / side.norm)
        np.fmax(known, number(floor), out=known)
        np.minimum(known, np.sqrt(np.finfo(number).max), out=known)
        known *= number(weight)
        return known


def _weighted_mean(sides: tuple[Floats, ...], known: list[Floats], weights: Weights) -> Floats:
    """Return the mean; both lists of arrays are overwritten."""
    total: Floats = known[0].copy()
    for each in known[1:]:
        total += each
    unknown = np.flatnonzero(total == 0)
    if len(unknown):
        for each, weight in zip(known, weights, strict=True):
            each[unknown] = weight
        total[unknown] = sum(np.array(weights, total.dtype))
    for side, each in zip(sides, known, strict=True):
        each /= total
        each *= side
    merged = known[0]
    for each in known[1:]:
        merged += each
    return merged
