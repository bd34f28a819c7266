"""Sums that neither the cut nor the processor can be seen in."""

import functools
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta.strategies.sums import SEGMENT, Total
from theta.strategies.values import Floats


def _total(values: Floats, cuts: list[int] | None = None) -> float:
    total = Total()
    for piece in np.split(values, sorted(cuts or [])):
        total.add(piece)
    return total.value


def _spread(count: int, seed: int = 0) -> Floats:
    """Return numbers of both signs and of very different sizes."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(count) * np.exp2(rng.integers(-20, 20, count))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 3 * SEGMENT), st.data())
def test_every_cut_gives_the_same_bits(count: int, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, count), max_size=6))
    values = _spread(count)
    assert _total(values, cuts).hex() == _total(values).hex()


def test_looking_at_the_sum_does_not_change_it() -> None:
    total, values = Total(), _spread(1000)
    for value in values:
        total.add(value[None])
        seen = total.value
    assert seen == total.value == _total(values)


@pytest.mark.parametrize("count", [1, 2, 1000, SEGMENT - 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT + 77])
def test_agrees_with_the_exact_sum(count: int) -> None:
    values = _spread(count, seed=count)
    bound = 1e-12 * math.fsum(np.abs(values))
    assert abs(_total(values) - math.fsum(values)) <= bound


def test_float32_is_summed_in_float64() -> None:
    values = np.full(SEGMENT, 0.1, np.float32)
    assert _total(values) == SEGMENT * float(np.float32(0.1))


def test_nothing_sums_to_zero() -> None:
    assert _total(np.empty(0)) == 0.0


def test_the_order_of_additions_is_golden() -> None:
    """Halves onto each other: (v0 + v2) + (v1 + v3); from the first to the last is another sum."""
    values = np.array([1.0, 2.0**-53, 2.0**-53, 2.0**-53])
    assert _total(values) == 1.0 + 2.0**-52
    assert functools.reduce(operator.add, values.tolist()) == 1.0


def test_sums_are_golden() -> None:
    words = np.random.PCG64(7).random_raw(3 * SEGMENT + 12345)
    values = (words >> np.uint64(11)) * 2.0**-53 - 0.5
    assert _total(values).hex() == "0x1.c4b6f19787ba0p+6"
    assert _total(values[:1000]).hex() == "-0x1.72ccc88793a35p+2"
