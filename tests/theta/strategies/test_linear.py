"""Weighted sums: in order, each step rounded, and what the store can keep as a sum."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Linear, Strategy, permuted
from theta.strategies.linear import Average, LinearSum
from theta.strategies.values import Floats
from theta_store.errors import UsageError

CUTS = [1, 7, None]
finite = st.floats(-(2.0**40), 2.0**40, width=32)


def _sides(count: int, kind: str = "f4", shape: tuple[int, ...] = (6, 5)) -> list[Floats]:
    rng = np.random.default_rng(count)
    return [rng.standard_normal(shape).astype(kind) for _ in range(count)]


@given(arrays.arrays("f4", st.integers(0, 20), elements=finite))
def test_the_mean_of_two_is_half_of_each(values: Floats) -> None:
    other = values[::-1].copy()
    half = np.float32(0.5)
    assert np.array_equal(merge_arrays(Average(), [values, other]), half * values + half * other)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_each_step_is_rounded_in_the_dtype_of_the_values(kind: str) -> None:
    sides, weights = _sides(3, kind), (0.3, 0.5, 0.7)
    number = np.dtype(kind).type
    shares = [number(weight / sum(weights)) for weight in weights]
    expected = (sides[0] * shares[0] + sides[1] * shares[1]) + sides[2] * shares[2]
    merged = merge_arrays(LinearSum(weight=weights), sides)
    assert merged.dtype == kind
    assert np.array_equal(merged, expected)


def test_agrees_with_exact_numbers() -> None:
    sides, weights = _sides(3), (0.3, 0.5, 0.7)
    merged = merge_arrays(LinearSum(weight=weights, normalize=False), sides)
    for place in np.ndindex(merged.shape):
        terms = [
            Fraction(w) * Fraction(float(s[place])) for w, s in zip(weights, sides, strict=True)
        ]
        assert abs(Fraction(float(merged[place])) - sum(terms)) <= 2e-7 * sum(map(abs, terms))


@pytest.mark.parametrize("cut", CUTS)
def test_cuts_cannot_be_seen(cut: int | None) -> None:
    sides = _sides(3)
    strategy = LinearSum(weight=(1, 2, 4))
    assert np.array_equal(merge_arrays(strategy, sides, cut=cut), merge_arrays(strategy, sides))


@given(st.permutations(range(3)))
def test_weights_follow_their_sides(order: list[int]) -> None:
    """Powers of two: then the order of additions of such small numbers cannot be seen."""
    sides = [np.arange(8, dtype=np.float32) * (n + 1) for n in range(3)]
    strategy = LinearSum(weight=(0.5, 2, 8), normalize=False)
    moved = merge_arrays(permuted(strategy, order), [sides[place] for place in order])
    assert np.array_equal(moved, merge_arrays(strategy, sides))


@pytest.mark.parametrize(
    ("strategy", "count", "expected"),
    [
        (Average(), 4, (0.25,) * 4),
        (LinearSum(), 2, (0.5, 0.5)),
        (LinearSum(normalize=False), 2, (1.0, 1.0)),
        (LinearSum(weight=(1, 3)), 2, (0.25, 0.75)),
        (LinearSum(weight=(1, 3), normalize=False), 2, (1.0, 3.0)),
    ],
)
def test_the_sum_is_told(strategy: Strategy, count: int, expected: tuple[float, ...]) -> None:
    assert strategy.linear(count, base=True) == Linear(expected)


def test_weights_with_sum_one_count_once_and_for_all() -> None:
    sides = _sides(2)
    one = merge_arrays(LinearSum(weight=(0.25, 0.75)), sides)
    assert np.array_equal(one, merge_arrays(LinearSum(weight=(1, 3)), sides))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (4, 1)])
def test_small_shapes(shape: tuple[int, ...]) -> None:
    sides = _sides(2, shape=shape)
    merged = merge_arrays(Average(), sides)
    assert merged.shape == shape
    assert np.array_equal(merged, np.float32(0.5) * sides[0] + np.float32(0.5) * sides[1])


def test_overflow_is_infinite_without_a_warning() -> None:
    top = np.full(3, np.finfo(np.float32).max)
    assert np.isinf(merge_arrays(LinearSum(weight=(1, 1), normalize=False), [top, top])).all()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"weight": [1, -1]}, "sum to 0"),
        ({"weight": [1, 1, 1]}, "3 weights for 2 sides"),
    ],
)
def test_bad_weights_are_refused(given: dict[str, object], problem: str) -> None:
    strategy = msgspec.convert(given, LinearSum, strict=False)
    with pytest.raises(UsageError, match=problem):
        merge_arrays(strategy, _sides(2))


def test_weights_that_cancel_are_taken_as_they_are_when_not_normalized() -> None:
    sides = _sides(2)
    merged = merge_arrays(LinearSum(weight=(1, -1), normalize=False), sides)
    assert np.array_equal(merged, sides[0] - sides[1])


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"weights": [1, 1]}, LinearSum, strict=False)


def test_one_side_is_refused() -> None:
    with pytest.raises(UsageError, match="average does not merge 1 side"):
        merge_arrays(Average(), _sides(1))
