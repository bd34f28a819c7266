"""Floating-point arithmetic done over in fractions, one element at a time: what must come out.

Shares no line with the code it judges. Codes are integers; a value is a Fraction, or None for what
is not finite.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from theta_store.dtypes import DTYPES, DType
from theta_store.scratch import Bytes

# Exponent bits, mantissa bits, bias, how infinity and NaN are spelled.
FIELDS = {
    "F64": (11, 52, 1023, "ieee"),
    "F32": (8, 23, 127, "ieee"),
    "BF16": (8, 7, 127, "ieee"),
    "F16": (5, 10, 15, "ieee"),
    "F8_E4M3": (4, 3, 7, "fn"),
    "F8_E5M2": (5, 2, 15, "ieee"),
    "F8_E4M3FNUZ": (4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": (5, 2, 16, "fnuz"),
}
NAMES = sorted(FIELDS)
WIDE = ("F64", "F32", "F16", "BF16")


def top_of(name: str) -> int:
    """Return the magnitude of infinity, or of NaN where there is no infinity."""
    exponent, mantissa, _, special = FIELDS[name]
    sign = 1 << exponent + mantissa
    return {"ieee": sign - (1 << mantissa), "fn": sign - 1, "fnuz": sign}[special]


def is_nan(code: int, name: str) -> bool:
    exponent, mantissa, _, special = FIELDS[name]
    magnitude = code & (1 << exponent + mantissa) - 1
    if special == "ieee":
        return magnitude > top_of(name)
    return code == top_of(name) if special == "fnuz" else magnitude == top_of(name)


def value(code: int, name: str) -> Fraction | None:
    exponent_bits, mantissa_bits, bias, special = FIELDS[name]
    sign = 1 << exponent_bits + mantissa_bits
    if is_nan(code, name) or (special == "ieee" and code & (sign - 1) == top_of(name)):
        return None
    exponent, mantissa = (code & (sign - 1)) >> mantissa_bits, code & (1 << mantissa_bits) - 1
    whole = mantissa + (1 << mantissa_bits if exponent else 0)
    size = Fraction(whole) * Fraction(2) ** (max(exponent, 1) - bias - mantissa_bits)
    return -size if code & sign else size


def rounded(number: Fraction, name: str, *, negative: bool | None = None) -> int:
    """Return the code nearest to a number, ties to even; ``negative`` is the sign of a zero."""
    exponent_bits, mantissa_bits, bias, special = FIELDS[name]
    is_negative = number < 0 if negative is None or number else negative
    size = abs(number)
    power = size.numerator.bit_length() - size.denominator.bit_length() if size else -9999
    if size and Fraction(2) ** power > size:
        power -= 1
    power = max(power, 1 - bias)
    whole = round(size / Fraction(2) ** (power - mantissa_bits))
    code = min(whole + (power + bias - 1 << mantissa_bits), top_of(name))
    if special == "fnuz" and code in {0, top_of(name)}:
        return code
    return code | (1 << exponent_bits + mantissa_bits if is_negative else 0)


def codes_of(plain: Bytes | bytes, row: DType) -> list[int]:
    return [int(code) for code in np.frombuffer(plain, f"<u{row.nbytes}")]


def plain_of(codes: list[int], row: DType) -> Bytes:
    return np.array(codes, np.uint64).astype(f"<u{row.nbytes}").view(np.uint8)


def strange(name: str) -> list[int]:
    """Return the codes that arithmetic is most likely to get wrong."""
    exponent, mantissa, bias, _ = FIELDS[name]
    sign, one = 1 << exponent + mantissa, bias << mantissa
    top, normal = min(top_of(name), sign - 1), 1 << mantissa
    sizes = {0, 1, 2, normal - 1, normal, normal + 1, top - 1, top, sign - 1, one, one + 1}
    sizes |= {top + 1, top | normal >> 1, top | 5 % normal} if top + 1 < sign else set()
    return sorted(size | s for size in sizes for s in (0, sign))


def any_code(name: str) -> st.SearchStrategy[int]:
    """Return strange codes and any others."""
    width = 8 * DTYPES[name].nbytes
    return st.one_of(st.sampled_from(strange(name)), st.integers(0, (1 << width) - 1))


def codes(name: str, most: int = 40) -> st.SearchStrategy[list[int]]:
    """Return lists of codes."""
    return st.lists(any_code(name), max_size=most)
