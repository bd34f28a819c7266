"""How finely each floating-point dtype tells numbers apart.

Owns the distance between neighbouring numbers. Must not know what is recognised.
"""

import numpy as np
from numpy.typing import NDArray

from theta_store.dtypes import DType

# Bits of the mantissa that are kept, and the exponent of the smallest normal number.
_FINENESS = {
    "F64": (52, -1022),
    "F32": (23, -126),
    "F16": (10, -14),
    "BF16": (7, -126),
    "F8_E4M3": (3, -6),
    "F8_E5M2": (2, -14),
    "F8_E4M3FNUZ": (3, -7),
    "F8_E5M2FNUZ": (2, -15),
}


def mantissa_bits(row: DType) -> int:
    """Return the bits of the mantissa that a floating-point dtype keeps."""
    return _FINENESS[row.name][0]


def spacing(values: NDArray[np.float64], row: DType) -> NDArray[np.float64]:
    """Return the distance from each number to its neighbour in a floating-point dtype."""
    bits, least = _FINENESS[row.name]
    exponents = np.frexp(values)[1] - 1
    found: NDArray[np.float64] = np.ldexp(1.0, np.maximum(exponents, least) - bits)
    return found
