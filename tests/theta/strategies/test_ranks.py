"""Order statistics are exact, whatever the values and the runs are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from theta.strategies.ranks import Single, ranked

positive = st.floats(0, width=32, allow_nan=False) | st.sampled_from([0.0, 1.0, float("inf")])


@given(arrays.arrays("f4", st.integers(1, 50), elements=positive), st.data())
def test_they_are_those_of_a_sorted_array(values: Single, data: st.DataObject) -> None:
    last = len(values) - 1
    places = data.draw(st.lists(st.integers(0, last), min_size=1, max_size=4))
    cut = data.draw(st.integers(0, last))
    found = ranked(places, lambda: [values[:cut], values[cut:]])
    assert np.array_equal(found, np.sort(values)[places])


@pytest.mark.parametrize("spread", [1e-7, 1.0])
def test_many_values_that_share_their_upper_bits(spread: float) -> None:
    numbers = np.random.default_rng(1).random(100_000)
    values = (1 + spread * numbers).astype(np.float32)
    places = [0, 25_000, 50_000, 99_999]
    assert np.array_equal(ranked(places, lambda: [values]), np.sort(values)[places])
