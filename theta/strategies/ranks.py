"""Order statistics of a tensor, exact, in bounded memory.

Owns `ranked`. The bits of floats that are not negative are ordered as the floats are: values are
counted by the upper half of their bits, then those that are in question by the lower half.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]
_HALF = 16
_CODES = 1 << _HALF


def ranked(places: Sequence[int], read: Callable[[], Iterable[Single]]) -> Single:
    """Return the values at these places of the ascending order.

    ``read`` returns all values, run by run, none negative, at each of two calls.
    """
    upper = np.zeros(_CODES, np.int64)
    for values in read():
        upper += np.bincount(values.view(np.uint32) >> _HALF, minlength=_CODES)
    ends = np.cumsum(upper)
    halves = np.searchsorted(ends, places, side="right")
    lower = {int(half): np.zeros(_CODES, np.int64) for half in halves}
    for values in read():
        bits = values.view(np.uint32)
        for half, counts in lower.items():
            inside = bits[bits >> _HALF == half] & np.uint32(_CODES - 1)
            counts += np.bincount(inside, minlength=_CODES)
    found = np.empty(len(places), np.uint32)
    for number, (place, half) in enumerate(zip(places, map(int, halves), strict=True)):
        within = place - (ends[half] - upper[half])
        rest = int(np.searchsorted(np.cumsum(lower[half]), within, side="right"))
        found[number] = half << _HALF | rest
    return found.view(np.float32)
