"""Exponential and logarithm: near the exact ones, and golden bits."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from theta.strategies.portable import exp, log


def _off(found: float, exact: Decimal) -> float:
    """Return the error in units in the last place."""
    return float(abs(Decimal(found) - exact)) / math.ulp(found)


@given(st.floats(-700, 0))
def test_exp_is_good_to_two_units(value: float) -> None:
    with localcontext() as context:
        context.prec = 40
        assert _off(float(exp(np.array([value]))[0]), Decimal(value).exp()) < 2


@given(st.floats(1e-300, 1e300) | st.floats(0.5, 2))
@example(0.8869602539803713)
def test_log_is_good_to_four_units(value: float) -> None:
    with localcontext() as context:
        context.prec = 40
        found = float(log(np.array([value]))[0])
        # Near 1 the logarithm is near 0: there in units of the distance from 1.
        assert _off(found, Decimal(value).ln()) < 4


@pytest.mark.parametrize(("value", "power"), [(0.0, 1.0), (-0.0, 1.0), (-np.inf, 0.0), (-1e300, 0)])
def test_exp_at_the_ends(value: float, power: float) -> None:
    assert exp(np.array([value]))[0] == power


def test_exp_of_nan_is_nan() -> None:
    assert np.isnan(exp(np.array([np.nan]))[0])


def test_log_of_one_is_zero() -> None:
    assert log(np.array([1.0]))[0] == 0.0


def test_bits_are_golden() -> None:
    places = -np.arange(1, 4001) / 7
    assert exp(places.copy()).view(np.uint64).sum() == 0x5443706EA584264B
    assert log(-places).view(np.uint64).sum() == 0x707D3145B4DD143
