"""``average``: the mean of the sides.

Owns the formula ``average/1``: with n sides in canonical order (by tensor id), each is multiplied
by 1/n and rounded, the products are added from the first to the last, each sum rounded; in float32,
or float64 for F64; the result is narrowed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from theta.strategies.base import ConflictKind

if TYPE_CHECKING:
    from theta_store.arithmetic import Floats


@dataclass(frozen=True)
class Average:
    """The mean of the sides; needs no base."""

    id: str = "average"
    formula: str = "average/1"
    kinds: frozenset[ConflictKind] = frozenset({"content", "add/add"})

    def coefficients(self, count: int) -> tuple[float, ...]:
        """Return equal weights."""
        return (1 / count,) * count

    def compute(self, sides: "Sequence[Floats]") -> "Floats":
        """Return the mean, in the dtype of the sides."""
        from theta_store.arithmetic import weighted_sum

        return weighted_sum(sides, self.coefficients(len(sides)))
