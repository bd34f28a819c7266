"""Breadcrumbs keep the middle of each delta."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, kept_by_sorting, lattices, normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.breadcrumbs import Breadcrumbs, BreadcrumbsTies
from theta.strategies.task_arithmetic import TaskArithmetic
from theta.strategies.ties import Ties


@given(
    lattices(),
    st.sampled_from([0.2, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.05, 0.3, 0.9]),
)
def test_the_middle_of_each_delta_is_added_up(
    branches: Branches, density: float, gamma: float
) -> None:
    size = branches.base.size
    count = min(max(1, int(density * size)), size)
    skipped = min(int(gamma * size), size - count)
    kept = [kept_by_sorting(delta, count, skipped) for delta in branches.deltas]
    strategy = Breadcrumbs(density=density, gamma=gamma)
    merged = merge_arrays(strategy, *branches.terms)
    assert np.array_equal(merged, branches.base + sum(kept))


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_density_of_one_drops_nothing(gamma: float) -> None:
    branches, weight = normal((16, 12), 3), (0.3, 0.5, 0.7)
    terms = branches.terms
    whole = merge_arrays(TaskArithmetic(weight=weight), *terms)
    assert np.array_equal(merge_arrays(Breadcrumbs(gamma=gamma, weight=weight), *terms), whole)
    elected = merge_arrays(Ties(weight=weight, normalize=False), *terms)
    assert np.array_equal(
        merge_arrays(BreadcrumbsTies(gamma=gamma, weight=weight), *terms), elected
    )


def test_without_outliers_the_elected_are_those_of_ties() -> None:
    branches = normal((16, 12))
    terms = branches.terms
    ties = merge_arrays(Ties(density=0.3, normalize=False), *terms)
    assert np.array_equal(merge_arrays(BreadcrumbsTies(density=0.3, gamma=0), *terms), ties)


def test_the_change_of_a_small_tensor_does_not_vanish() -> None:
    base = np.zeros(3, "f4")
    sides = [np.array([1, 5, 2], "f4"), base]
    merged = merge_arrays(Breadcrumbs(density=0.1), sides, base)
    assert np.array_equal(merged, np.array([0, 5, 0], "f4"))
