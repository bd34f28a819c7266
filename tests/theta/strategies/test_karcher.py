"""The Karcher mean: no pull is left at it, and its length is the mean one."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.karcher import Karcher
from theta.strategies.slerp import Slerp
from theta.strategies.values import Floats

EXACT = Karcher(max_iter=100, tol=1e-9)


def _units(sides: list[Floats]) -> Floats:
    return np.array([side.reshape(-1) / np.linalg.norm(side) for side in sides], "f8")


@given(st.integers(0, 2**32), st.integers(2, 5))
def test_the_pulls_cancel_out(seed: int, count: int) -> None:
    sides = normal((4, 5), count, seed=seed, kind=np.float64, spread=0.5).sides
    merged = merge_arrays(EXACT, sides)
    (mean,), units = _units([merged]), _units(list(sides))
    near = units @ mean
    angles = np.arccos(np.clip(near, -1, 1))
    logarithms = (angles / np.sin(angles))[:, None] * (units - near[:, None] * mean)
    # Coefficients have 24 bits.
    assert np.linalg.norm(logarithms.sum(axis=0)) < 1e-6
    lengths = [np.linalg.norm(side) for side in sides]
    assert abs(np.linalg.norm(merged) / np.mean(lengths) - 1) < 1e-6


def test_of_two_equal_lengths_it_is_the_middle_of_the_arc() -> None:
    one, other = normal((4, 5), kind=np.float64, spread=1.0).sides
    other = other * (np.linalg.norm(one) / np.linalg.norm(other))
    middle = merge_arrays(Slerp(), [one, other])
    assert np.abs(merge_arrays(EXACT, [one, other]) - middle).max() < 1e-6


def test_of_equal_sides_it_is_that_side() -> None:
    side = normal((4, 5)).sides[0]
    assert np.abs(merge_arrays(Karcher(), [side] * 3) - side).max() < 1e-6


def test_a_zero_side_has_no_direction_but_a_length() -> None:
    one, zero = normal((4, 5)).sides[0], np.zeros((4, 5), np.float32)
    assert np.abs(merge_arrays(Karcher(), [one, zero]) - one / 2).max() < 1e-6
    assert not merge_arrays(Karcher(), [zero, zero]).any()


def test_opposite_sides_give_the_direction_of_the_first() -> None:
    one = normal((4, 5)).sides[0]
    assert np.abs(merge_arrays(Karcher(), [one, -one]) - one).max() < 1e-6


def test_sides_within_the_tolerance_of_opposite_count_as_opposite() -> None:
    sides = [np.array([1.0, 0.0]), np.array([-1.0, 1e-6])]
    assert np.array_equal(merge_arrays(Karcher(), sides), sides[0])


@pytest.mark.parametrize("given", [{"max_iter": 0}, {"tol": 0}, {"max_iter": 1.5}, {"weight": [1]}])
def test_parameters_out_of_bounds_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Karcher, strict=False)
