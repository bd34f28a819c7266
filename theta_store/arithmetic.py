"""Values of tensors as numbers that can be computed with, and back with one rounding.

Owns widening to float32 or float64, narrowing to nearest, ties to even, as integer code, the sum
of products that merges and predictors share, and what is done about NaN. Must not know strategies,
predictors or the store. The results are the same on every machine.

The bits of a NaN that arithmetic makes differ between processors: nobody may keep them. Whoever
needs certain bits replaces them by `restore_nans` or `translate_nans`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theta_store.dtypes import DType
from theta_store.errors import UsageError
from theta_store.kernels import has_all_ones

Floats = NDArray[np.float32] | NDArray[np.float64]
Plain = NDArray[np.uint8]
Codes = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The fields of a float, sign above exponent above mantissa.

    ``special`` says how it spells infinity and NaN: as IEEE 754 does; ``fn``: no infinity, NaN is
    all ones; ``fnuz``: no infinity, no -0, NaN is the sign alone (OCP FP8; ONNX).
    """

    exponent: int
    mantissa: int
    bias: int
    special: Literal["ieee", "fn", "fnuz"] = "ieee"

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << self.exponent + self.mantissa

    @property
    def top(self) -> int:
        """The code that what is too large gets: infinity, or NaN where there is none."""
        if self.special == "ieee":
            return self.sign - (1 << self.mantissa)
        return self.sign - 1 if self.special == "fn" else self.sign


_LAYOUTS = {
    "F64": _Layout(11, 52, 1023),
    "F32": _Layout(8, 23, 127),
    "BF16": _Layout(8, 7, 127),
    "F16": _Layout(5, 10, 15),
    "F8_E4M3": _Layout(4, 3, 7, "fn"),
    "F8_E5M2": _Layout(5, 2, 15),
    "F8_E4M3FNUZ": _Layout(4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": _Layout(5, 2, 16, "fnuz"),
}
_SINGLE = _LAYOUTS["F32"]


def is_computable(row: DType) -> bool:
    """Say whether values of this dtype can be averaged: real floating-point numbers."""
    return row.name in _LAYOUTS


def widen(plain: bytes | memoryview | Plain, row: DType) -> Floats:
    """Return plain bytes as float32, or float64 for F64; exact."""
    layout = _layout(row)
    if row.name == "BF16":
        return _from_bf16(np.frombuffer(plain, "<u2"))
    if row.name in {"F64", "F32"}:
        return np.frombuffer(plain, row.carrier)
    if row.name == "F16":
        with np.errstate(all="ignore"):
            return np.frombuffer(plain, "<f2").astype(np.float32)
    return _table(layout)[np.frombuffer(plain, np.uint8)]


def narrow(values: Floats, row: DType) -> Plain:
    """Return numbers as plain bytes: one rounding, to nearest, ties to even.

    What is too large becomes infinite where the dtype has infinities, else NaN. A NaN stays one.
    """
    layout = _layout(row)
    with np.errstate(all="ignore"):
        if row.name in {"F64", "F32"}:
            return values.astype(row.carrier, copy=False).view(np.uint8)
        single = values.dtype == np.float32
        bits = values.view(np.uint32) if single else _single(values.astype(np.float64, copy=False))
        codes = _to_bf16(bits) if row.name == "BF16" else _rounded(bits, layout)
    return codes.astype(f"<u{row.nbytes}", copy=False).view(np.uint8)


def cast(plain: bytes | memoryview | Plain, source: DType, target: DType) -> Plain:
    """Return plain bytes of one dtype as those of another: exact, or one rounding as `narrow`.

    Both are real floating-point dtypes, else `UsageError`. A NaN stays one, not its payload.
    """
    with np.errstate(all="ignore"):
        return narrow(widen(plain, source), target)


def weighted_sum(
    values: Iterable[Floats], coefficients: Sequence[float], *, in_place: bool = False
) -> Floats:
    """Return the sum of coefficient times value, in the dtype of the values.

    Frozen: each coefficient is rounded to that dtype, each product is rounded, the products are
    added from the first to the last, each sum rounded. ``in_place``: the values are overwritten.
    """
    total: Floats | None = None
    with np.errstate(all="ignore"):
        for value, coefficient in zip(values, coefficients, strict=True):
            factor = value.dtype.type(coefficient)
            product: Floats = np.multiply(value, factor, out=value if in_place else None)
            total = product if total is None else np.add(total, product, out=total)
    if total is None:
        raise UsageError("a sum of nothing has no dtype")
    return total


def has_nan(values: Floats) -> bool:
    """Say whether any number is NaN: a maximum is one then."""
    with np.errstate(all="ignore"):
        return bool(np.isnan(np.max(values, initial=0)))


def is_finite(plain: bytes | memoryview | Plain, row: DType) -> bool:
    """Say whether plain bytes hold neither a NaN nor an infinity."""
    layout = _LAYOUTS[row.name]
    if layout.special != "ieee":
        return bool(np.isfinite(widen(plain, row)).all())
    # An exponent has all its bits set there, and nowhere else.
    return not has_all_ones(plain, row.nbytes, layout.top)


def half_step(values: Floats, row: DType) -> NDArray[np.float64]:
    """Return half the distance between neighbours of the dtype at these values, as float64.

    A real number that differs by less rounds to the value. Just above a power of two only: below
    one the neighbour is nearer.
    """
    layout = _layout(row)
    with np.errstate(all="ignore"):
        wide = values.astype(np.float64)
    exponent = np.where(wide == 0, -layout.bias, np.frexp(wide)[1] - 1)
    lowest = np.maximum(exponent, 1 - layout.bias)
    half: NDArray[np.float64] = np.ldexp(1.0, lowest - layout.mantissa - 1)
    return half


def nan_places(plain: bytes | memoryview | Plain, row: DType) -> NDArray[np.intp]:
    """Return where the elements are NaN."""
    layout = _layout(row)
    codes = np.frombuffer(plain, f"<u{row.nbytes}")
    if layout.special == "ieee" and is_finite(plain, row):
        return np.zeros(0, np.intp)
    magnitude = codes & codes.dtype.type(layout.sign - 1)
    if layout.special == "ieee":
        return np.flatnonzero(magnitude > layout.top)
    wanted = codes if layout.special == "fnuz" else magnitude
    return np.flatnonzero(wanted == layout.top)


def restore_nans(plain: Plain, origin: bytes | memoryview | Plain, row: DType) -> Plain:
    """Put the bits of ``origin`` wherever ``plain`` is NaN, in place, and return ``plain``."""
    places = nan_places(plain, row)
    if len(places):
        kind = f"<u{row.nbytes}"
        plain.view(kind)[places] = np.frombuffer(origin, kind)[places]
    return plain


def translate_nans(codes: Codes, source: DType, target: DType) -> Codes:
    """Return NaNs of one dtype as those of another: sign and first payload bits, made quiet.

    A dtype that has one NaN per sign has no payload: it gives none and takes none. FNUZ dtypes
    have no sign either: theirs is positive.
    """
    old, new = _layout(source), _layout(target)
    wide = codes.astype(np.uint64)
    sign = (wide & np.uint64(old.sign) != 0) & (old.special != "fnuz")
    if new.special == "fnuz":
        made = np.full(len(wide), new.sign, np.uint64)
    else:
        made = np.where(sign, np.uint64(new.sign), np.uint64(0)) | np.uint64(new.top)
    if new.special == "ieee":
        payload = wide & np.uint64((1 << old.mantissa) - 1 if old.special == "ieee" else 0)
        shift = np.uint64(abs(new.mantissa - old.mantissa))
        moved = payload << shift if new.mantissa > old.mantissa else payload >> shift
        made |= moved | np.uint64(1 << new.mantissa - 1)
    return made.astype(f"<u{target.nbytes}")


def _layout(row: DType) -> _Layout:
    if row.name not in _LAYOUTS:
        raise UsageError(f"values of {row.name} cannot be computed with")
    return _LAYOUTS[row.name]


def _single(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return bits of float32 whose rounding to a narrower dtype is that of the float64.

    Rounding twice goes wrong only where the first one lands on the middle between two narrow
    neighbours. There the value is pushed back by one bit to the side that it came from.
    """
    near = values.astype(np.float32)
    bits = near.view(np.uint32)
    # A middle of any dtype of at most 11 mantissa bits ends in twelve zeros.
    places = np.flatnonzero((bits & np.uint32(0xFFF)) == 0)
    exact, kept = np.abs(values[places]), np.abs(near[places].astype(np.float64))
    bits[places] += (exact > kept).astype(np.uint32)
    bits[places] -= (exact < kept).astype(np.uint32)
    return bits


def _from_bf16(words: NDArray[np.uint16]) -> NDArray[np.float32]:
    bits = np.empty(len(words), np.uint32)
    if len(words):
        # Written two bytes further on, each word lies in the upper half of its own place.
        np.copyto(_halfway(bits), words[:-1])
        bits.view(np.uint16)[0] = 0
        bits[-1] = np.uint32(words[-1]) << np.uint32(16)
    return bits.view(np.float32)


def _to_bf16(bits: NDArray[np.uint32]) -> NDArray[np.uint16]:
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += bits
    rounded += np.uint32(0x7FFF)
    codes = np.empty(len(bits), np.uint16)
    if len(bits):
        np.copyto(codes[:-1], _halfway(rounded), casting="unsafe")
        codes[-1] = rounded[-1] >> np.uint32(16)
    if has_nan(bits.view(np.float32)):
        # A NaN must stay one: rounding could carry its payload into infinity.
        nans = np.flatnonzero(bits & np.uint32(0x7FFFFFFF) > np.uint32(_SINGLE.top))
        codes[nans] = bits[nans] >> np.uint32(16) | np.uint32(0x40)
    return codes


def _halfway(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the words that begin in the middle of each of these but the last.

    Their lower halves are the upper ones of these: numpy has vector code for casting words wherever
    they lie, which takes less than a shift.
    """
    return bits.view(np.uint8)[2:-2].view("<u4")


def _rounded(bits: NDArray[np.uint32], layout: _Layout) -> NDArray[np.uint32]:
    """Return float32 bits as codes of a dtype with a smaller range."""
    magnitude = bits & np.uint32(0x7FFFFFFF)
    shift = _SINGLE.mantissa - layout.mantissa
    codes = _shifted(magnitude, np.uint32(shift))
    codes -= np.uint32(_SINGLE.bias - layout.bias << layout.mantissa)
    first_normal = _SINGLE.bias - layout.bias + 1
    small = np.flatnonzero(magnitude < np.uint32(first_normal << _SINGLE.mantissa))
    codes[small] = _subnormal(magnitude[small], shift + first_normal)
    np.minimum(codes, np.uint32(layout.top), out=codes)
    if layout.special == "ieee":
        nans = np.flatnonzero(magnitude > np.uint32(_SINGLE.top))
        codes[nans] |= np.uint32(1 << layout.mantissa - 1)
    sign = bits >> np.uint32(31 - layout.exponent - layout.mantissa) & np.uint32(layout.sign)
    return codes | (np.where(codes == 0, 0, sign) if layout.special == "fnuz" else sign)


def _shifted(magnitude: NDArray[np.uint32], shift: np.uint32 | NDArray[np.uint32]) -> Codes:
    """Shift right, rounding to nearest, ties to even."""
    one = np.uint32(1)
    rounded = magnitude >> shift
    rounded &= one
    rounded += magnitude
    rounded += (one << shift - one) - one
    rounded >>= shift
    return rounded


def _subnormal(magnitude: NDArray[np.uint32], shift: int) -> Codes:
    """Return the codes of float32 magnitudes below the smallest normal number of a dtype."""
    exponent = magnitude >> np.uint32(_SINGLE.mantissa)
    hidden = np.minimum(exponent, 1) << np.uint32(_SINGLE.mantissa)
    mantissa = magnitude & np.uint32((1 << _SINGLE.mantissa) - 1) | hidden
    # 25 places shift everything out: a mantissa has 24 bits.
    places = np.minimum(np.uint32(shift) - np.maximum(exponent, 1), np.uint32(25))
    return _shifted(mantissa, places)


@lru_cache(maxsize=8)
def _table(layout: _Layout) -> NDArray[np.float32]:
    """Return the value of each of the 256 codes of an 8-bit float."""
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = codes >> layout.mantissa & (1 << layout.exponent) - 1
    mantissa = codes & (1 << layout.mantissa) - 1
    normal = np.ldexp(1 + mantissa / (1 << layout.mantissa), exponent - layout.bias)
    subnormal = np.ldexp(mantissa / (1 << layout.mantissa), 1 - layout.bias)
    values = sign * np.where(exponent > 0, normal, subnormal)
    if layout.special == "fn":
        values[codes & 0x7F == 0x7F] = np.nan
    elif layout.special == "fnuz":
        values[0x80] = np.nan
    else:
        values[codes & 0x7F == layout.top] *= np.inf
        values[codes & 0x7F > layout.top] = np.nan
    return values.astype(np.float32)
