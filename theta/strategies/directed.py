"""Strategies that go from one of two sides to the other.

Owns the direction. It is a number per side, so that it follows the sides into canonical order as
weights do.
"""

from typing import ClassVar

from theta.strategies.base import Needs, Strategy, Weights
from theta_store.errors import UsageError


class Directed(Strategy, frozen=True):
    """A strategy of two sides; ``ends``: 0 for the side it starts from, 1 for the other."""

    needs: ClassVar[Needs] = Needs(most=2)
    ends: Weights = (0.0, 1.0)

    def check(self, count: int) -> None:
        """Refuse ends other than one 0 and one 1."""
        super().check(count)
        if sorted(self.ends) != [0.0, 1.0]:
            raise UsageError(f"{self.id}: ends are 0 for one side and 1 for the other")

    @property
    def start(self) -> int:
        """The side it starts from."""
        return self.ends.index(0.0)

    @property
    def end(self) -> int:
        """The side it goes to."""
        return self.ends.index(1.0)
