"""Making up for what was dropped from a delta.

Owns the ratio of L1 norms and how a factor is applied. Must not know which elements are dropped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta.strategies.sums import Total
from theta.strategies.trimming import keep_only
from theta.strategies.values import Floats

# Which elements of a run are kept, for each side.
Kept = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True)
class Rescaling:
    """What the deltas are multiplied by, one factor for each side, or all divided by."""

    factors: Sequence[float] | None = None
    divisor: float | None = None

    def apply(self, side: int, delta: Floats) -> None:
        """Rescale a side's delta in place: the number is rounded to its dtype, then the result."""
        number = delta.dtype.type
        if self.factors is not None:
            np.multiply(delta, number(self.factors[side]), out=delta)
        if self.divisor is not None:
            np.divide(delta, number(self.divisor), out=delta)


def norm_ratios(count: int, blocks: Iterable[tuple[Sequence[Floats], Kept]]) -> tuple[float, ...]:
    """Return Σ|delta| / Σ|kept| of each side, 1 where that is no positive finite number.

    ``blocks``: the deltas of all sides and which of their elements are kept, run by run, in order.
    """
    before, after = [[Total() for _ in range(count)] for _ in range(2)]
    with np.errstate(all="ignore"):
        for deltas, kept in blocks:
            for side in range(count):
                size = np.abs(deltas[side])
                before[side].add(size)
                after[side].add(keep_only(size, kept[side]))
        return tuple(_ratio(b.value, a.value) for b, a in zip(before, after, strict=True))


def _ratio(before: float, after: float) -> float:
    """Return the quotient; an L1 norm may overflow, and what is left may be nothing."""
    ratio = float(np.float64(before) / np.float64(after))
    return ratio if np.isfinite(ratio) and ratio > 0 else 1.0
