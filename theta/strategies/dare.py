"""``dare`` and ``dare-ties``: drop elements of each delta at random, make up for it, merge.

Owns the formulas ``dare/1`` and ``dare-ties/1`` (Yu et al. 2024). An element of a delta, rounded to
the dtype of the block, is kept where its random number is below the density as float32; the others
become 0. Then every element of the delta is rescaled, rounded once:

- ``l1``: times Σ|delta| / Σ|kept|, sums over the tensor and quotient in float64 (`Total`), the
  quotient rounded to the dtype; times 1 where that quotient is no positive finite number.
- ``inverse``: divided by the density, as in the paper.
- ``none``: left as it is.

``dare`` adds the deltas up as ``task-arithmetic`` does, ``dare-ties`` elects signs as ``ties`` does
(variant ``mergekit``). A density of 1 keeps all and rescales nothing.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import Kernel, Needs, Share
from theta.strategies.deltas import into_deltas, kernel_of
from theta.strategies.rescaling import Kept, Rescaling, norm_ratios
from theta.strategies.thinning import Thinning
from theta.strategies.trimming import keep_only
from theta.strategies.values import Floats, Values


class Dare(Thinning, frozen=True):
    """Drop at random, rescale, add up."""

    id: ClassVar[str] = "dare"
    formula: ClassVar[str] = "dare/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor", random=True)
    density: Share = 1.0
    rescale: Literal["l1", "inverse", "none"] = "l1"

    def prepare(self, values: Values) -> Kernel:
        """Measure what is left of each delta; only ``l1`` needs that pass."""
        merger = self.merger(values.count)
        if self.density == 1:
            return kernel_of(lambda _, deltas: merger.merge(deltas), self.lambda_)
        rescaling = self._rescaling(values)

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            for side, delta in enumerate(deltas):
                keep_only(delta, self._kept(values, side, start, start + len(delta)))
                rescaling.apply(side, delta)
            return merger.merge(deltas)

        return kernel_of(merge, self.lambda_)

    def _kept(self, values: Values, side: int, start: int, stop: int) -> NDArray[np.bool_]:
        return values.uniform(side, start, stop) < np.float32(self.density)

    def _rescaling(self, values: Values) -> Rescaling:
        if self.rescale == "none":
            return Rescaling()
        if self.rescale == "inverse":
            return Rescaling(divisor=self.density)
        return Rescaling(factors=norm_ratios(values.count, self._thinned(values)))

    def _thinned(self, values: Values) -> Iterator[tuple[Sequence[Floats], Kept]]:
        for block in values.blocks():
            sides = range(values.count)
            kept = [self._kept(values, side, block.start, block.stop) for side in sides]
            yield into_deltas(block), kept


class DareTies(Dare, frozen=True):
    """Drop at random, rescale, elect signs, merge what agrees."""

    id: ClassVar[str] = "dare-ties"
    formula: ClassVar[str] = "dare-ties/1"
    elects: ClassVar[bool] = True
