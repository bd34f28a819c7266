"""``nearswap``: one side, and the other where the two are near.

Owns the formula ``nearswap/1`` (alchemonaut 2024): with a the side it starts from and b the other,
d = max(|a − b|, 1e-6), w = min(t / d, 1), the result is w·b + (1 − w)·a, each step rounded to the
dtype of the block; b where w is 1.
"""

from typing import ClassVar

import numpy as np

from theta.strategies.base import AtLeastZero, Kernel
from theta.strategies.directed import Directed
from theta.strategies.values import Block, Values
from theta_store.arithmetic import Floats

NEAREST = 1e-6


class NearSwap(Directed, frozen=True):
    """From one side to the other by at most ``t``, in the units of the values."""

    id: ClassVar[str] = "nearswap"
    formula: ClassVar[str] = "nearswap/1"
    t: AtLeastZero = 1e-4

    def prepare(self, values: Values) -> Kernel:
        """Return the swap; nothing needs to be known before."""
        del values

        def kernel(block: Block) -> Floats:
            start, end = block.sides[self.start], block.sides[self.end]
            number = start.dtype.type
            weight = np.abs(start - end)
            np.maximum(weight, number(NEAREST), out=weight)
            np.divide(number(self.t), weight, out=weight)
            np.minimum(weight, number(1), out=weight)
            moved = weight * end
            rest = np.subtract(number(1), weight)
            rest *= start
            moved += rest
            np.copyto(moved, end, where=weight == 1)
            return moved

        return kernel
