"""Which sign an element gets, and the merge of the sides that agree with it.

Owns sign consensus and the disjoint merge (TIES, Yadav et al. 2023, steps 2 and 3). Must not know
how deltas were trimmed.

Frozen, in the dtype of the deltas: the deltas of the sides are added in order, each sum rounded;
below 0 elects minus, above 0 plus, 0 plus or none. Those whose sign is the elected one are added in
order, and so are their weights; the one sum is divided by the other, or by 1 where that is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from theta.strategies.base import Weights
from theta.strategies.trimming import keep_only
from theta.strategies.values import Floats
from theta_store.arithmetic import Codes


@dataclass(frozen=True)
class Election:
    """How signs are elected and deltas merged.

    ``divisor``: the merged delta is divided by the sum of the weights of those that agree, by
    their number, or not. ``weigh_first``: deltas are multiplied by their weights before the
    election, else after it. ``zero_elects``: a sum of 0 elects plus, else neither sign.
    """

    weights: Weights
    divisor: Literal["weights", "number", "none"]
    weigh_first: bool = True
    zero_elects: bool = True

    def merge(self, deltas: Sequence[Floats]) -> Floats:
        """Return the merged delta; the deltas are overwritten."""
        number = deltas[0].dtype.type
        weights = [number(weight) for weight in self.weights]
        if self.weigh_first:
            _weigh(deltas, weights)
        # A total of -0 elects as +0 does.
        total = _added(deltas[0].copy(), deltas[1:])
        minus = _sign_of(total)
        for delta in deltas:
            _flip(delta, minus)
        divisor = None if self.divisor == "none" else self._divisor(deltas, weights)
        for delta in deltas:
            # What maximum(delta, 0) gives, a NaN included, in less time.
            keep_only(delta, ~(delta <= 0))
        if not self.weigh_first:
            _weigh(deltas, weights)
            # A sum from 0 on: a weight below 0 makes zeros -0, no sum of zeros is.
            np.add(deltas[0], 0, out=deltas[0])
        merged = _added(deltas[0], deltas[1:])
        if divisor is not None:
            np.divide(merged, divisor, out=merged)
        if not self.zero_elects:
            merged[total == 0] = 0
        return _flip(merged, minus)

    def _divisor(self, flipped: Sequence[Floats], weights: Sequence[np.floating]) -> Floats:
        """Return the sum of the weights, or the number, of the sides above 0; 1 where it is 0."""
        if self.divisor == "number" or all(weight == 1 for weight in weights):
            return _numbers(flipped)
        divisor = np.zeros_like(flipped[0])
        share = np.empty_like(divisor)
        for delta, weight in zip(flipped, weights, strict=True):
            np.multiply(delta > 0, weight, out=share)
            np.add(divisor, share, out=divisor)
        np.add(divisor, divisor == 0, out=divisor)
        return divisor


def _weigh(deltas: Sequence[Floats], weights: Sequence[np.floating]) -> None:
    for delta, weight in zip(deltas, weights, strict=True):
        if weight != 1:
            np.multiply(delta, weight, out=delta)


def _numbers(flipped: Sequence[Floats]) -> Floats:
    """Return how many sides are above 0, 1 where none is: whole numbers, so the sums are exact."""
    count = (flipped[0] > 0).astype(np.uint8 if len(flipped) < 256 else np.uint32)
    for delta in flipped[1:]:
        # Truth values as bytes: numpy has vector code for numbers of one kind.
        np.add(count, (delta > 0).view(np.uint8), out=count)
    np.add(count, (count == 0).view(np.uint8), out=count)
    numbers = np.empty_like(flipped[0])
    np.copyto(numbers, count)
    return numbers


def _added(total: Floats, deltas: Sequence[Floats]) -> Floats:
    """Add deltas to the first one, in place."""
    for delta in deltas:
        np.add(total, delta, out=total)
    return total


def _sign_of(total: Floats) -> Codes:
    """Return the sign bit where the sum is below 0; not the sum's own: a NaN may have either."""
    sign: Codes = (total < 0).astype(f"u{total.itemsize}")
    np.left_shift(sign, 8 * total.itemsize - 1, out=sign)
    return sign


def _flip(values: Floats, minus: Codes) -> Floats:
    """Change signs in place: sums and products round the same whatever the sign."""
    bits = values.view(minus.dtype)
    np.bitwise_xor(bits, minus, out=bits)
    return values
