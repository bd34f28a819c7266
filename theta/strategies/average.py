"""``average``: the mean of the sides.

Owns the formula ``average/1``: with n sides in canonical order (by tensor id), each is multiplied
by 1/n and rounded, the products are added from the first to the last, each sum rounded; in float32,
or float64 for F64; the result is narrowed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from theta.arithmetic import Floats
from theta.strategies.base import ConflictKind


@dataclass(frozen=True)
class Average:
    """The mean of the sides; needs no base."""

    id: str = "average"
    formula: str = "average/1"
    kinds: frozenset[ConflictKind] = frozenset({"content", "add/add"})

    def compute(self, sides: Sequence[Floats]) -> Floats:
        """Return the mean, in the dtype of the sides."""
        weight = sides[0].dtype.type(1 / len(sides))
        total = sides[0] * weight
        for side in sides[1:]:
            np.add(total, side * weight, out=total)
        return total
