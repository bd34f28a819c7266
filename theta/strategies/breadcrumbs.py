"""``breadcrumbs`` and ``breadcrumbs-ties``: keep neither the greatest nor the smallest changes.

Owns the formulas ``breadcrumbs/1`` and ``breadcrumbs-ties/1`` (Davari and Belilovsky 2023). Of the
N elements of each delta ⌊density × N⌋ are kept, one at least: the greatest magnitudes behind the
⌊gamma × N⌋ greatest, or behind fewer where less than that is left over. The others become 0. Then
``breadcrumbs`` adds the deltas up as ``task-arithmetic`` does, ``breadcrumbs-ties`` elects signs as
``ties`` does (variant ``mergekit``). A density of 1 keeps all, whatever gamma is.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from theta.strategies.base import Kernel, Needs, Share
from theta.strategies.deltas import into_deltas, kernel_of
from theta.strategies.thinning import Thinning
from theta.strategies.trimming import Cut, count_of, greatest, keep_only
from theta.strategies.values import Floats, Values


class Breadcrumbs(Thinning, frozen=True):
    """Trim both ends of each delta, add up."""

    id: ClassVar[str] = "breadcrumbs"
    formula: ClassVar[str] = "breadcrumbs/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    density: Share = 1.0
    gamma: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.01

    def prepare(self, values: Values) -> Kernel:
        """Find where each delta is cut at both ends."""
        merger = self.merger(values.count)
        lower, upper = self._cuts(values)

        def merge(start: int, deltas: Sequence[Floats]) -> Floats:
            for side, delta in enumerate(deltas):
                kept = lower[side].kept(delta, start)
                if upper:
                    kept &= ~upper[side].kept(delta, start)
                keep_only(delta, kept)
            return merger.merge(deltas)

        return kernel_of(merge, self.lambda_)

    def _cuts(self, values: Values) -> tuple[Sequence[Cut], Sequence[Cut]]:
        """Return what is cut off below, and above; nothing above if there is none to drop."""
        count, elements = values.count, values.elements
        kept = count_of(self.density, elements)
        dropped = min(int(self.gamma * elements), elements - kept)
        wanted = [(side, kept + dropped) for side in range(count)]
        wanted += [(side, dropped) for side in range(count) if dropped]
        cuts = greatest(values, into_deltas, wanted)
        return cuts[:count], cuts[count:]


class BreadcrumbsTies(Breadcrumbs, frozen=True):
    """Trim both ends of each delta, elect signs, merge what agrees."""

    id: ClassVar[str] = "breadcrumbs-ties"
    formula: ClassVar[str] = "breadcrumbs-ties/1"
    elects: ClassVar[bool] = True
