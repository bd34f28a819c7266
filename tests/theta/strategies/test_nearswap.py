"""One side, and the other where the two are near."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from theta.strategies.arrays import merge_arrays
from theta.strategies.nearswap import NearSwap
from theta.strategies.values import Floats

numbers = arrays.arrays("f4", 12, elements=st.floats(-8, 8, width=16))


@given(numbers, numbers, st.floats(1e-3, 4))
def test_it_moves_by_t_at_most(start: Floats, end: Floats, t: float) -> None:
    merged = merge_arrays(NearSwap(t=t), [start, end])
    distance = np.abs(end - start)
    expected = start + np.sign(end - start) * np.minimum(distance, t)
    assert np.abs(merged - expected).max() <= 4e-6
    assert np.array_equal(merged[distance <= np.float32(t)], end[distance <= np.float32(t)])


@given(numbers, numbers)
def test_none_is_the_one_side_and_much_the_other(start: Floats, end: Floats) -> None:
    assert np.array_equal(merge_arrays(NearSwap(t=0), [start, end]), start)
    assert merge_arrays(NearSwap(t=100), [start, end]).tobytes() == end.tobytes()


def test_the_direction_may_be_turned_round() -> None:
    start, end = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert np.allclose(merge_arrays(NearSwap(t=0.25), [start, end]), 0.25)
    assert np.allclose(merge_arrays(NearSwap(t=0.25, ends=(1, 0)), [start, end]), 0.75)


def test_a_negative_way_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r">= 0\.0"):
        msgspec.convert({"t": -1}, NearSwap, strict=False)
