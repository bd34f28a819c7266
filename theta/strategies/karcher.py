"""``karcher``: the mean of directions on the sphere.

Owns the formula ``karcher/1`` (Karcher 1977), coefficients for the sum of ``span``: the sides as
unit vectors, u; from their mean, made a unit vector m, repeatedly from m along the mean of the
logarithms of u at m, by its length; until that is shorter than ``tol``. The result is m times the
mean length of the sides. All in float64, in the plane of the sides: m is known by its coefficients.

A side that is zero has no direction, one opposite to m no shortest way: neither pulls. Where the
unit vectors cancel out, m starts at the first.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from theta.strategies.base import Kernel, Needs, Positive, Strategy
from theta.strategies.span import Gram, cosine, length, spanned
from theta.strategies.values import Values


class Karcher(Strategy, frozen=True):
    """The direction with the smallest sum of squared angles to the sides, at their mean length.

    ``max_iter``: at most so many steps; ``tol``: radians.
    """

    id: ClassVar[str] = "karcher"
    formula: ClassVar[str] = "karcher/1"
    needs: ClassVar[Needs] = Needs(reach="tensor")
    max_iter: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    tol: Positive = 1e-5

    def prepare(self, values: Values) -> Kernel:
        """Return the sum of the sides with the coefficients of the mean."""
        return spanned(values, self._coefficients)

    def _coefficients(self, gram: Gram) -> Sequence[float]:
        lengths = [math.sqrt(gram[side][side]) for side in range(len(gram))]
        used = [side for side, size in enumerate(lengths) if size]
        cosines = [[cosine(gram, one, other) for other in used] for one in used]
        radius = math.fsum(lengths) / len(gram)
        found = [0.0] * len(gram)
        for side, part in zip(used, self._mean(cosines), strict=True):
            found[side] = radius * part / lengths[side]
        return found

    def _mean(self, cosines: Gram) -> Sequence[float]:
        """Return the mean of unit vectors by its coefficients; of none there are none."""
        count = len(cosines)
        if not count:
            return []
        mean = [1 / count] * count
        size = length(mean, cosines)
        mean = [part / size for part in mean] if size > self.tol else [1.0] + [0.0] * (count - 1)
        for _ in range(self.max_iter):
            tangent = self._pull(mean, cosines)
            angle = length(tangent, cosines)
            if angle < self.tol:
                break
            ahead, aside = math.cos(angle), math.sin(angle) / angle
            mean = [ahead * part + aside * pull for part, pull in zip(mean, tangent, strict=True)]
            size = length(mean, cosines)
            mean = [part / size for part in mean]
        return mean

    def _pull(self, mean: Sequence[float], cosines: Gram) -> Sequence[float]:
        """Return the mean of the logarithms of the unit vectors at ``mean``."""
        pull = [0.0] * len(mean)
        for side, row in enumerate(cosines):
            near = math.fsum(part * each for part, each in zip(mean, row, strict=True))
            angle = math.acos(max(-1.0, min(1.0, near)))
            if angle < self.tol or math.pi - angle < self.tol:
                continue
            stretch = angle / math.sin(angle) / len(mean)
            pull[side] += stretch
            pull = [had - stretch * near * part for had, part in zip(pull, mean, strict=True)]
        return pull
