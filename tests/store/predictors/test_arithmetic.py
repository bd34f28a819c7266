"""Widening and narrowing give the bits that exact arithmetic says, for every dtype."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.store.predictors.exact import (
    FIELDS,
    NAMES,
    codes,
    codes_of,
    is_nan,
    plain_of,
    rounded,
    strange,
    value,
)
from theta.strategies.arrays import merge_arrays
from theta.strategies.linear import Average
from theta_store.arithmetic import (
    half_step,
    is_computable,
    nan_places,
    narrow,
    restore_nans,
    translate_nans,
    weighted_sum,
    widen,
)
from theta_store.dtypes import DTYPES
from theta_store.errors import UsageError

pytestmark = pytest.mark.usefixtures("loops")

TORCH = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}


def _near_middles(name: str) -> np.ndarray:
    """Return float64 numbers at and on both sides of every middle of two neighbours (16 bits)."""
    row = DTYPES[name]
    every = np.arange(1 << 8 * row.nbytes, dtype=f"<u{row.nbytes}").view(np.uint8)
    values = widen(every, row)
    values = np.unique(values[np.isfinite(values)].astype(np.float64))
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate(
        [values, middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)]
    )


@pytest.mark.parametrize("name", TORCH)
def test_every_rounding_of_a_narrow_dtype_is_the_nearest_even_one(name: str) -> None:
    numbers = _near_middles(name)
    picked = np.random.default_rng(0).choice(numbers, 3000)
    made = codes_of(narrow(picked, DTYPES[name]), DTYPES[name])
    wanted = [rounded(Fraction(float(x)), name, negative=bool(np.signbit(x))) for x in picked]
    assert made == wanted


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=150)
@given(data=st.data(), source=st.sampled_from(["F32", "F64"]))
def test_narrowing_is_one_exact_rounding(name: str, data: st.DataObject, source: str) -> None:
    given_codes = data.draw(codes(source))
    row = DTYPES[name]
    made = codes_of(narrow(widen(plain_of(given_codes, DTYPES[source]), DTYPES[source]), row), row)
    for code, result in zip(given_codes, made, strict=True):
        number = value(code, source)
        if is_nan(code, source):
            assert is_nan(result, name)
        elif number is not None:
            negative = code >> 8 * DTYPES[source].nbytes - 1 == 1
            assert result == rounded(number, name, negative=negative)


def test_a_float64_is_not_rounded_twice() -> None:
    # Float32 rounds this to the middle of two bfloat16, and that to the even one, below.
    number = 1 + 2**-8 + 2**-40
    assert codes_of(narrow(np.array([number]), DTYPES["BF16"]), DTYPES["BF16"]) == [0x3F81]
    number = 1 + 2**-11 + 2**-40
    assert codes_of(narrow(np.array([number]), DTYPES["F16"]), DTYPES["F16"]) == [0x3C01]
    number = 1 + 3 * 2**-8 - 2**-40
    assert codes_of(narrow(np.array([number]), DTYPES["BF16"]), DTYPES["BF16"]) == [0x3F81]


@pytest.mark.parametrize("name", TORCH)
def test_narrowing_is_that_of_torch(name: str) -> None:
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    lows = (0, 1, 0x7FFF, 0x8000, 0x8001, 0x1000, 0x0FFF, 0xF000)
    numbers = np.concatenate([high | np.uint32(low) for low in lows]).view(np.float32)
    if name == "F8_E4M3":
        # Torch gives the largest number for what is too large, we give NaN.
        numbers = numbers[np.abs(numbers) <= 464]
    row = DTYPES[name]
    kind = torch.uint8 if row.nbytes == 1 else torch.int16
    wanted = torch.from_numpy(numbers).to(TORCH[name]).view(kind).numpy().view(np.uint8)
    made = narrow(numbers, row)
    known = np.ones(len(numbers), bool)
    known[nan_places(wanted, row)] = False
    word = f"<u{row.nbytes}"
    assert np.array_equal(np.flatnonzero(~known), nan_places(made, row))
    assert np.array_equal(made.view(word)[known], wanted.view(word)[known])


@pytest.mark.parametrize("name", [*TORCH, "F32", "F64"])
def test_widening_is_exact_and_narrowing_takes_it_back(name: str) -> None:
    row = DTYPES[name]
    every = list(range(1 << 8 * row.nbytes)) if row.nbytes < 4 else strange(name)
    plain = plain_of(every, row)
    values = widen(plain, row)
    few = slice(None, None, max(1, len(every) // 999))
    for code, number in zip(every[few], values[few], strict=True):
        wanted = value(code, name)
        assert wanted is None or Fraction(float(number)) == wanted
    nans = nan_places(plain, row)
    assert nans.tolist() == [place for place, code in enumerate(every) if is_nan(code, name)]
    back = restore_nans(narrow(values, row).copy(), plain, row)
    assert codes_of(back, row) == every


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_differs_by_less_than_half_a_step_rounds_to_the_value(
    name: str, data: st.DataObject
) -> None:
    row = DTYPES[name]
    given_codes = [c for c in data.draw(codes(name)) if value(c, name) is not None]
    halves = half_step(widen(plain_of(given_codes, row), row), row)
    for code, half in zip(given_codes, halves, strict=True):
        number = value(code, name)
        assert number is not None
        more = number + (1 if number >= 0 else -1) * Fraction(float(half)) * Fraction(99, 100)
        negative = code >> 8 * row.nbytes - 1 == 1
        assert rounded(more, name, negative=negative) in {code, code & ~(1 << 8 * row.nbytes - 1)}


def _nan_codes(name: str) -> list[int]:
    return [code for code in strange(name) if is_nan(code, name)]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_a_nan_keeps_sign_and_first_payload_bits_and_is_made_quiet(
    source: str, target: str
) -> None:
    given_codes = _nan_codes(source)
    made = translate_nans(
        plain_of(given_codes, DTYPES[source]).view(f"<u{DTYPES[source].nbytes}"),
        DTYPES[source],
        DTYPES[target],
    )
    for code, result in zip(given_codes, made.tolist(), strict=True):
        assert is_nan(result, target)
        exponent, mantissa, _, special = FIELDS[target]
        if special == "fnuz":
            continue
        source_exponent, source_mantissa, _, source_special = FIELDS[source]
        negative = source_special != "fnuz" and code >> source_exponent + source_mantissa
        assert result >> exponent + mantissa == negative
        if special == "ieee":
            payload = code & (1 << source_mantissa) - 1 if source_special == "ieee" else 0
            shared = min(mantissa, source_mantissa)
            quiet = 1 << mantissa - 1
            moved = payload >> source_mantissa - shared << mantissa - shared
            assert result & (1 << mantissa) - 1 == moved | quiet


@settings(deadline=None)
@given(given_codes=st.lists(codes("F32", 8), min_size=2, max_size=5), wide=st.booleans())
@example(given_codes=[[0x3F800001], [0x3F800000], [0x33800000]], wide=False)
def test_the_average_has_the_bits_of_its_frozen_formula(
    given_codes: list[list[int]], wide: bool
) -> None:
    length = min(map(len, given_codes))
    sides = [widen(plain_of(c[:length], DTYPES["F32"]), DTYPES["F32"]) for c in given_codes]
    with np.errstate(all="ignore"):
        sides = [side.astype(np.float64) for side in sides] if wide else sides
        weight = sides[0].dtype.type(1 / len(sides))
        wanted = sides[0] * weight
        for side in sides[1:]:
            wanted = wanted + side * weight
    made = merge_arrays(Average(), sides)
    assert made.dtype == sides[0].dtype
    known = ~np.isnan(wanted)
    assert np.array_equal(np.isnan(made), ~known)
    assert made[known].tobytes() == wanted[known].tobytes()


def test_a_weighted_sum_leaves_its_parts_alone() -> None:
    parts = [np.ones(3, np.float32), np.full(3, 2, np.float32)]
    assert weighted_sum(parts, [0.5, 0.25]).tolist() == [1, 1, 1]
    assert parts[0].tolist() == [1, 1, 1]


def test_what_is_no_number_is_refused() -> None:
    assert not is_computable(DTYPES["I64"])
    for function in (lambda row: widen(b"", row), lambda row: narrow(np.zeros(1), row)):
        with pytest.raises(UsageError, match="cannot be computed with"):
            function(DTYPES["F8_E8M0"])
