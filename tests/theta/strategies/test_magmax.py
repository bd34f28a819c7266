"""MagMax takes the greatest change of each element."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, lattices
from theta.strategies.arrays import merge_arrays
from theta.strategies.magmax import MagMax


@given(lattices(), st.sampled_from([1.0, 0.5]))
def test_the_greatest_change_wins_and_of_equal_ones_the_last(
    branches: Branches, scale: float
) -> None:
    expected = []
    for element in zip(*branches.deltas, strict=True):
        chosen = element[0]
        for delta in element[1:]:
            chosen = delta if abs(delta) >= abs(chosen) else chosen
        expected.append(chosen)
    merged = merge_arrays(MagMax(lambda_=scale), *branches.terms)
    assert np.array_equal(merged, branches.base + np.float32(scale) * np.array(expected, "f4"))
