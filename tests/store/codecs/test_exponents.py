"""The order of a residual is the stable sort by exponent, the same on every machine forever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.codecs.residuals import SCRATCH
from theta_store.arithmetic import is_computable, narrow, widen
from theta_store.codecs import exponents
from theta_store.codecs.exponents import GROUP_LEAST, exponent_code, order_of
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError

# Bits of the exponent and of the mantissa, by the letters of the standards.
LAYOUT = {
    "F32": (8, 23),
    "BF16": (8, 7),
    "F16": (5, 10),
    "F64": (11, 52),
    "F8_E4M3": (4, 3),
    "F8_E5M2": (5, 2),
    "F8_E4M3FNUZ": (4, 3),
    "F8_E5M2FNUZ": (5, 2),
}


def _expected(plain: bytes, name: str) -> np.ndarray:
    exponent_bits, mantissa_bits = LAYOUT[name]
    words = np.frombuffer(plain, f"<u{DTYPES[name].width}").tolist()
    exponents = [word >> mantissa_bits & (1 << exponent_bits) - 1 for word in words]
    if name == "F64":
        # As a single's: the bias is 1023 there, 127 here.
        exponents = [min(max(exponent - 896, 0), 255) for exponent in exponents]
    return np.argsort(np.array(exponents, np.uint8), kind="stable")


@settings(deadline=None, max_examples=100)
@given(name=st.sampled_from(sorted(LAYOUT)), words=st.integers(0, 700), seed=st.integers(0, 99))
def test_the_order_is_the_stable_sort_by_exponent(name: str, words: int, seed: int) -> None:
    row = DTYPES[name]
    plain = np.random.default_rng(seed).bytes(words * row.width + seed % row.width)
    code = exponent_code(row)
    assert code is not None
    order = order_of(memoryview(plain), code, row.width, SCRATCH)
    assert np.array_equal(order.positions, _expected(plain[: words * row.width], name))


@pytest.mark.parametrize("words", [1, 131_071, 131_072, 131_073, 300_000])
def test_sorting_in_parts_changes_nothing(words: int) -> None:
    key = (np.random.default_rng(words).standard_normal(words) * 0.02).astype("<f4")
    order = order_of(key.view(np.uint8), exponents.SINGLE, 4, SCRATCH)
    powers = (key.view("<u4") << 1 >> 24).astype(np.uint8)
    assert np.array_equal(order.positions, np.argsort(powers, kind="stable"))
    assert np.array_equal(order.indices(SCRATCH), order.positions)


@settings(deadline=None, max_examples=50)
@given(counts=st.lists(st.integers(0, 9000), max_size=12))
def test_groups_are_large_enough_and_end_where_exponents_do(counts: list[int]) -> None:
    key = np.repeat(np.arange(len(counts), dtype="<u2") << 7, counts)
    bounds = order_of(key.view(np.uint8), exponents.SINGLE, 2, SCRATCH).bounds
    sizes = np.diff([0, *bounds])
    assert bounds[-1] == len(key)
    assert (sizes >= GROUP_LEAST).all() or len(bounds) == 1
    assert set(bounds) <= {0, *np.cumsum(counts).tolist()}


def test_every_float_that_can_be_computed_with_has_an_exponent() -> None:
    codes = {name: exponent_code(row) for name, row in DTYPES.items()}
    assert all(codes[name] for name, row in DTYPES.items() if is_computable(row))
    assert codes["C64"] == codes["F32"] == codes["BF16"] == 1
    assert [codes[name] for name in ("F16", "F64", "F8_E4M3", "F8_E5M2")] == [2, 3, 4, 5]
    assert codes["F8_E8M0"] is codes["I32"] is codes["GGML_Q4_0"] is None


@pytest.mark.parametrize("name", ["F32", "BF16", "F16", "F64"])
def test_numbers_of_one_power_of_two_lie_together_and_larger_ones_later(name: str) -> None:
    row = DTYPES[name]
    values = np.random.default_rng(1).standard_normal(3000)
    plain = narrow(values, row).tobytes()
    code = exponent_code(row)
    assert code is not None
    order = order_of(memoryview(plain), code, row.width, SCRATCH)
    sizes = np.abs(widen(plain, row).astype(np.float64))[order.positions]
    normal = sizes[sizes > 2.0**-14]
    assert (np.diff(np.floor(np.log2(normal))) >= 0).all()
    assert len(normal) > 2900


def test_words_without_such_exponents_are_refused() -> None:
    with pytest.raises(IntegrityError, match="exponents"):
        order_of(b"", exponents.HALF, 4, SCRATCH)
