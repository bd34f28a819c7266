"""Sums over a whole tensor that are the same bits on every machine and for every cut.

Owns `Total`. Adding halves onto each other uses only element-wise additions, whose results do not
depend on the processor; a library's sum may take its operands in any order.
"""

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import Floats

SEGMENT = 1 << 16


class Total:
    """A float64 sum of values that come run by run, in order.

    Frozen: values are taken in segments of 2¹⁶ elements, the last filled up with zeros; in each,
    the second half is added to the first until one number is left; those are added in order.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._open = np.zeros(SEGMENT)
        self._filled = 0

    def add(self, values: Floats) -> None:
        """Take the next run; it is read as float64."""
        while len(values):
            taken = min(SEGMENT - self._filled, len(values))
            self._open[self._filled : self._filled + taken] = values[:taken]
            self._filled += taken
            values = values[taken:]
            if self._filled == SEGMENT:
                self._sum += _halved(self._open)
                self._filled = 0

    @property
    def value(self) -> float:
        """The sum so far."""
        if not self._filled:
            return self._sum
        rest = self._open.copy()
        rest[self._filled :] = 0
        return self._sum + _halved(rest)


def _halved(segment: NDArray[np.float64]) -> float:
    """Return the sum of a segment; it is overwritten."""
    size = len(segment)
    while size > 1:
        size //= 2
        np.add(segment[:size], segment[size : 2 * size], out=segment[:size])
    return float(segment[0])
