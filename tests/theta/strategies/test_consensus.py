"""Consensus keeps the sum where enough sides care."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, lattices
from theta.strategies.arrays import merge_arrays
from theta.strategies.consensus import Consensus
from theta_store.errors import UsageError


@given(lattices(), st.integers(1, 2), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_elements_are_kept_by_the_definition(branches: Branches, k: int, threshold: float) -> None:
    expected = []
    for element in zip(*branches.deltas, strict=True):
        total = sum(element)
        caring = sum(abs(delta) > threshold * abs(total - delta) for delta in element)
        expected.append(total if caring >= k else 0)
    merged = merge_arrays(Consensus(k=k, threshold=threshold), *branches.terms)
    assert np.array_equal(merged, branches.base + np.array(expected, "f4"))


def test_a_change_of_one_side_alone_is_selfish() -> None:
    base = np.zeros(2, "f4")
    sides = [np.array([1, 1], "f4"), np.array([0, 1], "f4")]
    assert list(merge_arrays(Consensus(), sides, base)) == [0, 2]
    assert list(merge_arrays(Consensus(k=1), sides, base)) == [1, 2]


def test_more_than_there_are_sides_is_refused() -> None:
    with pytest.raises(UsageError, match=r"k=3, but there are 2 sides"):
        Consensus(k=3).check(2)
