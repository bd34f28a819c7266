"""``model-stock``: between the base and the mean of the sides, by the angle between the deltas.

Owns the formula ``model-stock/1`` (Jang et al. 2024), coefficients for the sum of ``span``: with n
sides and c the mean cosine over the pairs of deltas, t = n·c / (1 + (n − 1)·c); the result is the
base plus t/n times each delta. A delta of zero has cosine 0 to all. As c is at most 1, so is t; of
opposing deltas, c ≤ 0, t is 0: unbounded it would blow them up.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from theta.strategies.base import ConflictKind, Kernel, Needs, Strategy
from theta.strategies.span import Gram, cosine, spanned
from theta.strategies.values import Values
from theta.strategies.vectors import Kind


class ModelStock(Strategy, frozen=True):
    """As far from the base to the mean of the sides as the deltas agree.

    ``filter_wise``: for each row of the last axis by itself.
    """

    id: ClassVar[str] = "model-stock"
    formula: ClassVar[str] = "model-stock/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor")
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    filter_wise: bool = False

    def prepare(self, values: Values) -> Kernel:
        """Return the base plus the sum of the deltas with one coefficient."""
        kind: Kind = "rows" if self.filter_wise else "tensor"
        return spanned(values, _coefficients, kind=kind, deltas=True)


def _coefficients(gram: Gram) -> Sequence[float]:
    count = len(gram)
    pairs = [cosine(gram, one, other) for one in range(count) for other in range(one)]
    mean = math.fsum(pairs) / len(pairs)
    way = count * mean / (1 + (count - 1) * mean) if mean > 0 else 0.0
    return [way / count] * count
