"""``linear`` and ``average``: weighted sums of the sides.

Owns the formulas ``average/1`` and ``linear/1``: sides in canonical order (by tensor id), each is
multiplied by its coefficient and rounded, the products are added from the first to the last, each
sum rounded; in float32, or float64 for F64; the result is narrowed once. The coefficients of
``average`` are 1/n; of ``linear`` the weights, divided by their sum in float64 unless
``normalize`` is off.
"""

from typing import ClassVar

from theta.strategies.base import Kernel, Linear, Strategy, Weights, shares_of, weights_of
from theta.strategies.values import Block, Values
from theta_store.arithmetic import Floats, weighted_sum


class LinearSum(Strategy, frozen=True):
    """The sum of weight times side."""

    id: ClassVar[str] = "linear"
    formula: ClassVar[str] = "linear/1"
    is_sum: ClassVar[bool] = True
    weight: Weights = ()
    normalize: bool = True

    def check(self, count: int) -> None:
        """Refuse weights that sum to 0 where they are to be normalized."""
        super().check(count)
        self.coefficients(count)

    def coefficients(self, count: int) -> tuple[float, ...]:
        """Return what each side is multiplied by."""
        if self.normalize:
            return shares_of(self.weight, count, self.id)
        return weights_of(self.weight, count)

    def prepare(self, values: Values) -> Kernel:
        """Return the sum; nothing needs to be known before."""
        coefficients = self.coefficients(values.count)

        def kernel(block: Block) -> Floats:
            return weighted_sum(block.sides, coefficients)

        return kernel

    def linear(self, count: int, *, base: bool) -> Linear:
        """Return the coefficients."""
        del base
        return Linear(self.coefficients(count))


class Average(Strategy, frozen=True):
    """The mean of the sides."""

    id: ClassVar[str] = "average"
    formula: ClassVar[str] = "average/1"
    is_sum: ClassVar[bool] = True

    def prepare(self, values: Values) -> Kernel:
        """Return the mean; nothing needs to be known before."""
        return LinearSum().prepare(values)

    def linear(self, count: int, *, base: bool) -> Linear:
        """Return equal coefficients."""
        return LinearSum().linear(count, base=base)
