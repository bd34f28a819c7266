"""Values of tensors as numbers that can be computed with, and back with one rounding.

Owns widening to float32 or float64, and narrowing to nearest, ties to even, as integer code. Must
not know strategies or the store. The results are the same on every machine.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from theta_store.dtypes import DType
from theta_store.errors import UsageError

Floats = NDArray[np.float32] | NDArray[np.float64]
Plain = NDArray[np.uint8]

# (exponent bits, mantissa bits, bias, code of NaN handling) of the 8-bit floats (OCP FP8; ONNX).
_EIGHT = {
    "F8_E4M3": (4, 3, 7, "fn"),
    "F8_E5M2": (5, 2, 15, "ieee"),
    "F8_E4M3FNUZ": (4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": (5, 2, 16, "fnuz"),
}


def is_computable(row: DType) -> bool:
    """Say whether values of this dtype can be averaged: real floating-point numbers."""
    return row.name in {"F64", "F32", "F16", "BF16"} or row.name in _EIGHT


def widen(plain: bytes | memoryview, row: DType) -> Floats:
    """Return plain bytes as float32, or float64 for F64; exact."""
    if row.name == "BF16":
        return (np.frombuffer(plain, "<u2").astype(np.uint32) << 16).view(np.float32)
    if row.name in {"F64", "F32"}:
        return np.frombuffer(plain, row.carrier)
    if row.name == "F16":
        return np.frombuffer(plain, "<f2").astype(np.float32)
    if row.name in _EIGHT:
        return _table(row.name)[np.frombuffer(plain, np.uint8)]
    raise UsageError(f"values of {row.name} cannot be computed with")


def narrow(values: Floats, row: DType) -> Plain:
    """Return numbers as plain bytes: one rounding, to nearest, ties to even.

    What is too large becomes infinite where the dtype has infinities, else NaN.
    """
    if row.name == "F32":
        return values.astype("<f4", copy=False).view(np.uint8)
    if row.name == "F64":
        return values.astype("<f8", copy=False).view(np.uint8)
    if row.name == "BF16":
        return _to_bf16(values.astype(np.float32, copy=False)).view(np.uint8)
    if row.name == "F16":
        # IEEE conversion is correctly rounded on every machine numpy runs on.
        with np.errstate(over="ignore"):
            return values.astype("<f2").view(np.uint8)
    if row.name in _EIGHT:
        return _to_eight(values.astype(np.float64), row.name)
    raise UsageError(f"values of {row.name} cannot be computed with")


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + (bits >> 16 & 1))) >> 16
    # A NaN must stay one: rounding could carry its payload into infinity.
    quiet = bits >> 16 | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype("<u2")


@lru_cache(maxsize=8)
def _table(name: str) -> NDArray[np.float32]:
    """Return the value of each of the 256 codes."""
    exponent_bits, mantissa_bits, bias, kind = _EIGHT[name]
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = codes & (1 << mantissa_bits) - 1
    normal = np.ldexp(1 + mantissa / (1 << mantissa_bits), exponent - bias)
    subnormal = np.ldexp(mantissa / (1 << mantissa_bits), 1 - bias)
    values = sign * np.where(exponent > 0, normal, subnormal)
    top = (1 << exponent_bits) - 1
    if kind == "fn":
        values[codes & 0x7F == 0x7F] = np.nan
    elif kind == "fnuz":
        values[0x80] = np.nan
    else:
        values[(exponent == top) & (mantissa == 0)] *= np.inf
        values[(exponent == top) & (mantissa != 0)] = np.nan
    return values.astype(np.float32)


def _to_eight(values: NDArray[np.float64], name: str) -> Plain:
    table = _table(name).astype(np.float64)
    finite = np.flatnonzero(np.isfinite(table[:128]))
    steps = table[finite]
    magnitude = np.abs(values)
    above = np.clip(np.searchsorted(steps, magnitude), 1, len(steps) - 1)
    low, high = steps[above - 1], steps[above]
    middle = (low + high) / 2
    up = (magnitude > middle) | ((magnitude == middle) & (above % 2 == 0))
    index = np.where(up, above, above - 1)
    codes = finite[index].astype(np.uint8)
    limit = steps[-1] + (steps[-1] - steps[-2]) / 2
    infinite = 0x7C if _EIGHT[name][3] == "ieee" else _nan(name)
    codes = np.where(magnitude >= limit, np.uint8(infinite), codes)
    negative = np.signbit(values) & ((codes != 0) | (_EIGHT[name][3] != "fnuz"))
    codes = np.where(negative & (codes < 0x80), codes | 0x80, codes)
    return np.where(np.isnan(values), np.uint8(_nan(name)), codes).astype(np.uint8)


def _nan(name: str) -> int:
    return {"fn": 0x7F, "fnuz": 0x80, "ieee": 0x7E}[_EIGHT[name][3]]
