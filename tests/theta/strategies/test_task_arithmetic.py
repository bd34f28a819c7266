"""Task arithmetic is a weighted sum of deltas, and says which sum of terms it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, lattices, normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.linear import Average
from theta.strategies.task_arithmetic import TaskArithmetic


@given(lattices(), st.sampled_from([1.0, 0.5, -2.0]))
def test_deltas_are_added_up(branches: Branches, scale: float) -> None:
    merged = merge_arrays(TaskArithmetic(lambda_=scale), *branches.terms)
    assert np.array_equal(merged, branches.base + np.float32(scale) * sum(branches.deltas))


def test_equal_shares_are_the_average() -> None:
    branches = normal((64, 48))
    halves = merge_arrays(TaskArithmetic(weight=(0.5, 0.5)), *branches.terms)
    divided = merge_arrays(TaskArithmetic(normalize=True), *branches.terms)
    mean = merge_arrays(Average(), branches.sides)
    assert np.allclose(halves, mean, rtol=0, atol=1e-6)
    assert np.array_equal(halves, divided)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_sum_that_it_says_is_the_result(normalize: bool) -> None:
    strategy = TaskArithmetic(weight=(0.3, 0.5, 0.7), normalize=normalize, lambda_=0.5)
    branches = normal((500,), 3, kind=np.float64)
    linear = strategy.linear(3, base=True)
    assert linear is not None
    assert sum(linear.sides) + linear.base == pytest.approx(1)
    expected = linear.base * branches.base + sum(
        share * side for share, side in zip(linear.sides, branches.sides, strict=True)
    )
    merged = merge_arrays(strategy, *branches.terms)
    assert np.allclose(merged, expected, rtol=0, atol=1e-14)


def test_without_a_base_it_is_no_sum() -> None:
    assert TaskArithmetic().linear(2, base=False) is None
