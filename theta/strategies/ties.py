"""``ties``: trim each delta, elect a sign for each element, merge the sides that agree with it.

Owns the formula ``ties/1`` (Yadav et al. 2023) in three variants. Of each delta, rounded to the
dtype of the block, the ⌊density × elements⌋ greatest magnitudes of the tensor are kept, one at
least, the others become 0. Then, with the rounding of `Election`:

- ``mergekit``: deltas are weighted, then the sign is elected, a sum of 0 elects plus; the sum of
  those that agree is divided by the sum of their weights.
- ``peft``: the sign is elected without weights, a sum of 0 elects plus; the weighted sum of those
  that agree is divided by their number.
- ``paper``: as ``peft`` without weights; a sum of 0 elects none.

Without ``normalize`` nothing is divided. The result, times ``lambda``, is added to the base.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from theta.strategies.base import (
    ConflictKind,
    Finite,
    Kernel,
    Needs,
    Share,
    Strategy,
    Weights,
    weights_of,
)
from theta.strategies.deltas import into_deltas, kernel_of
from theta.strategies.election import Election
from theta.strategies.trimming import count_of, greatest, keep_only
from theta.strategies.values import Floats, Values
from theta_store.errors import UsageError


class Ties(Strategy, frozen=True):
    """Trim, elect signs, merge what agrees.

    ``trim`` says of what the greatest are kept: of each tensor; ``global``, of the whole model, is
    refused for now.
    """

    id: ClassVar[str] = "ties"
    formula: ClassVar[str] = "ties/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    density: Share = 1.0
    weight: Weights = ()
    normalize: bool = True
    lambda_: Finite = msgspec.field(default=1.0, name="lambda")
    variant: Literal["mergekit", "peft", "paper"] = "mergekit"
    trim: Literal["tensor", "global"] = "tensor"

    def check(self, count: int) -> None:
        """Refuse weights where the variant has none, and trimming over the whole model."""
        super().check(count)
        if self.variant == "paper" and self.weight:
            raise UsageError("ties: variant=paper takes no weights")
        if self.trim == "global":
            raise UsageError(
                "ties: trim=global is not supported yet: a tensor would need the whole model",
                hint="theta merge BRANCH --rule '* ties trim=tensor'",
            )

    def prepare(self, values: Values) -> Kernel:
        """Find where each delta is cut; a density of 1 needs no pass."""
        kept = count_of(self.density, values.elements)
        cuts = greatest(values, into_deltas, [(side, kept) for side in range(values.count)])
        election = Election(
            weights_of(self.weight, values.count),
            self._divisor,
            weigh_first=self.variant == "mergekit",
            zero_elects=self.variant != "paper",
        )

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            for cut, delta in zip(cuts, deltas, strict=True):
                if not cut.keeps_all:
                    keep_only(delta, cut.kept(delta, start))
            return election.merge(deltas)

        return kernel_of(merge, self.lambda_)

    @property
    def _divisor(self) -> Literal["weights", "number", "none"]:
        if not self.normalize:
            return "none"
        return "weights" if self.variant == "mergekit" else "number"
