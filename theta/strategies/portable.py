"""Exponential and logarithm whose results are the same bits on every machine.

Owns both, of float64 arrays, made of additions, multiplications, divisions and exact scaling alone:
those of a library differ between processors. Good to a few units in the last place.
"""

import math

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# ln 2 in two parts; the first has 32 bits, so that its product with an exponent is exact.
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
# 1/n! from n = 13 down to 0: the rest of the series is below 2⁻⁵⁶ where |x| ≤ ln 2 / 2.
_EXP = [1 / math.factorial(n) for n in range(13, -1, -1)]
# 1/(2n + 1) from n = 12 down to 0, for s = (m − 1) / (m + 1) with |s| ≤ 0.1716.
_LOG = [1 / (2 * n + 1) for n in range(12, -1, -1)]
_SMALLEST = -745.2


def exp(values: Doubles) -> Doubles:
    """Return e to the power of values that are at most 0, or NaN; they are overwritten."""
    np.maximum(values, _SMALLEST, out=values)
    exponent = values * _LOG2_E
    np.rint(exponent, out=exponent)
    scratch = exponent * _LN2_HIGH
    values -= scratch
    np.multiply(exponent, _LN2_LOW, out=scratch)
    values -= scratch
    result = np.full_like(values, _EXP[0])
    for factor in _EXP[1:]:
        result *= values
        result += factor
    # A NaN stays one, whatever its exponent is cast to.
    with np.errstate(invalid="ignore"):
        scale = exponent.astype(np.int32)
    scaled: Doubles = np.ldexp(result, scale, out=result)
    return scaled


def log(values: Doubles) -> Doubles:
    """Return the natural logarithm of positive finite values."""
    mantissa, exponent = np.frexp(values)
    low = mantissa < 0.7071067811865476
    mantissa[low] *= 2
    whole = (exponent - low).astype(np.float64)
    part = (mantissa - 1) / (mantissa + 1)
    square = part * part
    result = np.full_like(part, _LOG[0])
    for factor in _LOG[1:]:
        result *= square
        result += factor
    result *= 2 * part
    result += whole * _LN2_LOW
    logarithm: Doubles = result + whole * _LN2_HIGH
    return logarithm
