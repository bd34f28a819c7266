"""Casts are exact or round once, to nearest, ties to even: compared with exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from theta_store.arithmetic import cast, narrow, weighted_sum, widen
from theta_store.dtypes import dtype
from theta_store.errors import UsageError

# (exponent bits, fraction bits) of the IEEE formats.
SHAPES = {"F16": (5, 10), "BF16": (8, 7), "F32": (8, 23)}
TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _value(code: int, fraction_bits: int, bias: int) -> Fraction:
    exponent, fraction = code >> fraction_bits, code & (1 << fraction_bits) - 1
    lead = (1 << fraction_bits) if exponent else 0
    return Fraction(lead + fraction) * Fraction(2) ** (max(exponent, 1) - bias - fraction_bits)


def _rounded(value: float, kind: str) -> int:
    """Return the code of a number, found by comparing exact fractions."""
    exponent_bits, fraction_bits = SHAPES[kind]
    bias = (1 << exponent_bits - 1) - 1
    infinity = (1 << exponent_bits) - 1 << fraction_bits
    sign = int(np.signbit(value)) << exponent_bits + fraction_bits
    if np.isinf(value):
        return sign | infinity
    exact = abs(Fraction(value))
    low, high = 0, infinity
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if _value(middle, fraction_bits, bias) <= exact else (low, middle)
        )
    below = exact - _value(low, fraction_bits, bias)
    above = _value(low + 1, fraction_bits, bias) - exact
    return sign | low + (below > above or (below == above and low % 2 == 1))


def _codes(values: NDArray[np.float64], kind: str) -> list[int]:
    row = dtype(kind)
    out = cast(values.tobytes(), dtype("F64"), row)
    return [int(code) for code in out.view(f"<u{row.nbytes}")]


@pytest.mark.parametrize("kind", SHAPES)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_float64_is_rounded_once(kind: str, numbers: list[float]) -> None:
    values = np.array(numbers)
    assert _codes(values, kind) == [_rounded(number, kind) for number in numbers]


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_midpoints_and_their_neighbours(kind: str) -> None:
    exponent_bits, fraction_bits = SHAPES[kind]
    bias = (1 << exponent_bits - 1) - 1
    infinity = (1 << exponent_bits) - 1 << fraction_bits
    chosen = {*range(200), *range(0, infinity, 97), *range(infinity - 40, infinity)}
    middles = [
        float((_value(c, fraction_bits, bias) + _value(c + 1, fraction_bits, bias)) / 2)
        for c in sorted(chosen)
    ]
    exact = np.array(middles)
    values = np.concatenate([exact, np.nextafter(exact, 0), np.nextafter(exact, np.inf)])
    values = np.concatenate([values, -values])
    assert _codes(values, kind) == [_rounded(float(value), kind) for value in values]


def test_by_way_of_float32_it_would_be_rounded_twice() -> None:
    value = np.array([1 + 2.0**-8 + 2.0**-40])
    assert _codes(value, "BF16") == [0x3F81]
    assert _codes(value.astype(np.float32).astype(np.float64), "BF16") == [0x3F80]


@pytest.mark.parametrize("source", TORCH)
@pytest.mark.parametrize("target", TORCH)
def test_every_code_of_16_bits_as_torch_casts_it(source: str, target: str) -> None:
    if dtype(source).nbytes == 2:
        bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
        tensor = bits.view(TORCH[source])
    else:
        tensor = torch.randn(5000, generator=torch.manual_seed(0)).to(TORCH[source])
    plain = tensor.view(torch.uint8).numpy().tobytes()
    made = torch.from_numpy(cast(plain, dtype(source), dtype(target)).copy()).view(TORCH[target])
    expected = tensor.to(TORCH[target])
    assert torch.equal(made.isnan(), expected.isnan())
    keep = ~made.isnan()
    assert torch.equal(made[keep], expected[keep])
    assert torch.equal(torch.signbit(made[keep]), torch.signbit(expected[keep]))


def test_a_nan_stays_one() -> None:
    bits = [0x7FF0000000000001, 0xFFF0000000000001, 0x7FF8000000000000, 0xFFFFFFFFFFFFFFFF]
    values = np.array(bits, np.uint64).view(np.float64)
    for kind in (*SHAPES, "F64"):
        plain = cast(values.tobytes(), dtype("F64"), dtype(kind))
        assert np.isnan(widen(plain.tobytes(), dtype(kind))).all()


def test_eight_bits_widen_exactly() -> None:
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    for name, kind in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        expected = codes.view(kind).to(torch.float32).numpy()
        made = cast(codes.numpy().tobytes(), dtype(name), dtype("F32")).view("<f4")
        assert np.array_equal(made, expected, equal_nan=True)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 1001])
def test_bfloat16_at_every_length(count: int) -> None:
    row = dtype("BF16")
    codes = np.random.default_rng(count).integers(0, 0x7F80, count).astype(np.uint16)
    wide = widen(codes.tobytes(), row)
    assert wide.view(np.uint32).tolist() == [int(code) << 16 for code in codes]
    assert narrow(wide, row).tobytes() == codes.tobytes()
    above = (wide.view(np.uint32) + np.uint32(0x8001)).view(np.float32)
    assert narrow(above, row).view(np.uint16).tolist() == [int(code) + 1 for code in codes]


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        weighted_sum([], [])


@pytest.mark.parametrize("in_place", [False, True])
def test_a_sum_leaves_its_terms_alone_unless_it_may_not(in_place: bool) -> None:
    terms = [np.arange(5, dtype=np.float32) * k for k in (1, 3, 5)]
    kept = [term.copy() for term in terms]
    total = weighted_sum(terms, (0.1, 0.2, 0.3), in_place=in_place)
    tenth, fifth, third = map(np.float32, (0.1, 0.2, 0.3))
    assert total.tobytes() == (kept[0] * tenth + kept[1] * fifth + kept[2] * third).tobytes()
    assert in_place or all(map(np.array_equal, terms, kept))


def test_what_is_no_real_number_is_refused() -> None:
    with pytest.raises(UsageError):
        cast(b"\0" * 8, dtype("I64"), dtype("F32"))
    with pytest.raises(UsageError):
        narrow(np.zeros(1), dtype("I8"))
