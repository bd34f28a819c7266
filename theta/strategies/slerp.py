"""``slerp``, ``nuslerp`` and ``multislerp``: along the arc between the sides.

Owns the formulas ``slerp/1``, ``nuslerp/1`` and ``multislerp/1``, which are coefficients for the
sums of ``span``. With θ the angle between two terms (Shoemake 1985), each term gets
sin(share · θ) / sin θ; lengths are not made equal before. Where the two are nearly parallel or
opposite, or one is zero, each gets its share: a straight line. Shares, angles and coefficients are
in float64.

``multislerp`` (Goddard 2025): the weighted mean of the unit vectors, made a unit vector, times the
weighted mean of the lengths. Its step along the mean tangent at that vector is zero: the tangents
at a weighted mean cancel out. Where the mean of the unit vectors is zero it is the weighted sum.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from theta.strategies.additions import added
from theta.strategies.base import Kernel, Needs, Strategy, Unit, Weights, shares_of, weights_of
from theta.strategies.directed import Directed
from theta.strategies.span import Gram, cosine, length, spanned
from theta.strategies.values import Values
from theta.strategies.vectors import Kind

# Beyond this cosine the arc is taken as straight: of slerp as is usual; of nuslerp only where the
# cosine would be ±1 in float32.
SLERP_STRAIGHT = 0.9995
NUSLERP_STRAIGHT = 1 - 2.0**-25
# Unit vectors whose weighted sum is shorter than this part of the weights cancel out.
CANCELLED = 1e-6


class Slerp(Directed, frozen=True):
    """From one side, at 0, to the other, at 1; ``t`` is the place on the way."""

    id: ClassVar[str] = "slerp"
    formula: ClassVar[str] = "slerp/1"
    needs: ClassVar[Needs] = Needs(reach="tensor", most=2)
    t: Unit = 0.5

    def prepare(self, values: Values) -> Kernel:
        """Return the sum of the sides with the coefficients of the arc."""
        shares = tuple(self.t if end else 1 - self.t for end in self.ends)
        return spanned(values, lambda gram: _arc(gram, shares, SLERP_STRAIGHT))


class NuSlerp(Strategy, frozen=True):
    """By weights, along the arc between two sides or, where there is a base, their deltas.

    ``deltas`` off: between the sides themselves. ``vectors``: what the angle is measured between,
    whole tensors, rows (along the last axis; mergekit's ``nuslerp_flatten: false``) or columns
    (along the first; with ``nuslerp_row_wise`` too). Weights that sum to less than 1e-6 count as
    equal.
    """

    id: ClassVar[str] = "nuslerp"
    formula: ClassVar[str] = "nuslerp/1"
    needs: ClassVar[Needs] = Needs(reach="tensor", most=2)
    weight: Weights = ()
    deltas: bool = True
    vectors: Kind = "tensor"

    def prepare(self, values: Values) -> Kernel:
        """Return the sum of the terms with the coefficients of the arc."""
        weights = weights_of(self.weight, 2)
        total = added(weights)
        shares = (0.5, 0.5) if abs(total) < 1e-6 else tuple(each / total for each in weights)
        return spanned(
            values,
            lambda gram: _arc(gram, shares, NUSLERP_STRAIGHT),
            kind=self.vectors,
            deltas=self.deltas and values.has_base,
        )


class MultiSlerp(Strategy, frozen=True):
    """By weights, on the sphere around any number of sides or, where there is a base, deltas.

    ``deltas`` off: around the sides themselves. ``normalize``: weights are divided by their sum.
    """

    id: ClassVar[str] = "multislerp"
    formula: ClassVar[str] = "multislerp/1"
    needs: ClassVar[Needs] = Needs(reach="tensor")
    weight: Weights = ()
    normalize: bool = True
    deltas: bool = True

    def check(self, count: int) -> None:
        """Refuse weights that sum to 0 where they are to be normalized."""
        super().check(count)
        self._weights(count)

    def prepare(self, values: Values) -> Kernel:
        """Return the sum of the terms with the coefficients of the sphere."""
        weights = self._weights(values.count)
        deltas = self.deltas and values.has_base
        return spanned(values, lambda gram: _on_sphere(gram, weights), deltas=deltas)

    def _weights(self, count: int) -> Weights:
        if self.normalize:
            return shares_of(self.weight, count, self.id)
        return weights_of(self.weight, count)


def _arc(gram: Gram, shares: Sequence[float], straight: float) -> Sequence[float]:
    """Return the coefficients of two vectors."""
    between = cosine(gram, 0, 1)
    if abs(between) > straight or not (gram[0][0] and gram[1][1]):
        return shares
    angle = math.acos(between)
    return [math.sin(share * angle) / math.sin(angle) for share in shares]


def _on_sphere(gram: Gram, weights: Sequence[float]) -> Sequence[float]:
    """Return the coefficients of any number of vectors; a zero vector has none."""
    places = range(len(gram))
    cosines = [[cosine(gram, one, other) for other in places] for one in places]
    lengths = [math.sqrt(gram[place][place]) for place in places]
    size = length(weights, cosines)
    if size <= CANCELLED * math.fsum(map(abs, weights)):
        return weights
    radius = math.fsum(weight * each for weight, each in zip(weights, lengths, strict=True)) / size
    return [
        radius * weight / each if each else 0.0
        for weight, each in zip(weights, lengths, strict=True)
    ]
