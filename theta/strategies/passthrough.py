"""``passthrough``: one side, scaled.

Owns the formula ``passthrough/1``: each value times ``scale``, rounded, in the dtype of the block.
"""

from typing import ClassVar

from theta.strategies.base import Kernel, Linear, Needs, Strategy, Weights
from theta.strategies.values import Block, Values
from theta_store.arithmetic import Floats, weighted_sum
from theta_store.errors import UsageError


class Passthrough(Strategy, frozen=True):
    """One side times ``scale``; ``take``: 1 for that side, 0 for the others."""

    id: ClassVar[str] = "passthrough"
    formula: ClassVar[str] = "passthrough/1"
    needs: ClassVar[Needs] = Needs(least=1)
    take: Weights = ()
    scale: float = 1.0

    def check(self, count: int) -> None:
        """Refuse anything but the choice of one side."""
        super().check(count)
        if sorted(self.take) != [0.0] * (count - 1) + [1.0]:
            raise UsageError(
                f"{self.id}: it must be said which side to take",
                hint="theta merge BRANCH -s 'passthrough take=ours:1,theirs:0'",
            )

    def prepare(self, values: Values) -> Kernel:
        """Return the scaled side; nothing needs to be known before."""
        del values
        side = self.take.index(1.0)

        def kernel(block: Block) -> Floats:
            return weighted_sum((block.sides[side],), (self.scale,))

        return kernel

    def linear(self, count: int, *, base: bool) -> Linear:
        """Return the scale as the coefficient of the side."""
        del count, base
        return Linear(tuple(self.scale * each for each in self.take))
