"""What a strategy is: it settles one open name of a merge.

Owns the protocols and the kinds of conflict. Must not know the store, files or the terminal.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from theta_store.arithmetic import Floats

ConflictKind = Literal[
    "content", "shape", "dtype", "modify/delete", "add/add", "non-float", "non-finite", "tied"
]


class Picking(Protocol):
    """A strategy that takes one of the terms as it is; it settles every kind of conflict."""

    @property
    def id(self) -> str:
        """Name of the strategy."""

    @property
    def label(self) -> str:
        """Which term it takes: ours, theirs or base."""


class Elementwise(Protocol):
    """A strategy that computes each element from the same element of every side.

    ``formula`` is frozen: the order of operands, the compute dtype and every rounding belong to
    it, so that a merge can be replayed to the bit.
    """

    @property
    def id(self) -> str:
        """Name of the strategy."""

    @property
    def formula(self) -> str:
        """Name of the frozen formula."""

    @property
    def kinds(self) -> frozenset[ConflictKind]:
        """The kinds of conflict that it settles."""

    def coefficients(self, count: int) -> tuple[float, ...] | None:
        """Return the weights of ``count`` sides if this is their weighted sum, else None."""

    def compute(self, sides: "Sequence[Floats]") -> "Floats":
        """Return the merged elements; sides come in canonical order, float32 or float64."""
