"""Where a few flags of many are set.

Owns the search. Must not know what the flags mean.
"""

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]

# Above this share of set flags numpy looks at each by itself and is quick; below, it looks for the
# next one again and again.
MANY = 0.1
# So few flags take less time than the calls below.
FEW = 1 << 14


def places(flags: NDArray[np.bool_], count: int | None = None) -> Places:
    """Return the places of the flags that are set, ascending; ``count``: how many these are.

    Four flags are first looked at as one word, then only the words that are not zero.
    """
    if len(flags) <= FEW:
        return flags.nonzero()[0]
    if count is None:
        count = int(np.count_nonzero(flags))
    whole = len(flags) // 4 * 4
    if count > MANY * len(flags) or count == 0:
        return flags.nonzero()[0]
    fours = flags[:whole].view("<u4")
    words: Places = (fours != 0).nonzero()[0]
    inner = fours[words].view(np.bool_).nonzero()[0]
    found: Places = words[inner >> 2]
    found <<= 2
    inner &= 3
    found += inner
    if whole == len(flags):
        return found
    return np.concatenate([found, flags[whole:].nonzero()[0] + whole])
