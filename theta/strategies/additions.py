"""The sum of a few numbers, the same bits by every Python.

Owns the order of its additions. Imports no numpy: what a strategy asks is looked up without it.
"""

import functools
import operator
from collections.abc import Iterable


def added(numbers: Iterable[float]) -> float:
    """Return the sum of numbers added one after the other, each time rounded; of none it is 0.

    Frozen: a merge is replayed by any Python, and since 3.12 ``sum`` carries along what rounding
    loses, which are other bits.
    """
    return functools.reduce(operator.add, numbers, 0.0)
