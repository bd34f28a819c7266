"""Between the base and the mean, by the angle between the deltas; never beyond."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.model_stock import ModelStock
from theta_store.errors import UsageError

BASE = normal((4, 8)).base


def _branches(cosine: float, count: int = 2) -> Branches:
    """Return sides whose deltas are of length 1, with this cosine between each two."""
    directions = np.linalg.qr(np.random.default_rng(1).standard_normal((32, count + 1)))[0].T
    common, own = np.sqrt(cosine), np.sqrt(1 - cosine)
    deltas = [common * directions[0] + own * each for each in directions[1:]]
    return Branches(BASE.astype("f8"), [BASE + delta.reshape(4, 8) for delta in deltas])


@given(st.floats(0.01, 0.99), st.integers(2, 5))
def test_the_way_follows_from_the_cosine(cosine: float, count: int) -> None:
    branches = _branches(cosine, count)
    merged = merge_arrays(ModelStock(), branches.sides, branches.base)
    way = count * cosine / (1 + (count - 1) * cosine)
    mean = sum(branches.sides) / count
    assert np.abs(merged - (branches.base + way * (mean - branches.base))).max() < 1e-6


def test_of_equal_sides_it_is_that_side() -> None:
    side = normal((4, 8)).sides[0]
    assert np.abs(merge_arrays(ModelStock(), [side, side], BASE) - side).max() < 1e-6


@given(st.integers(0, 2**32), st.floats(-0.01, 0.01))
def test_opposing_changes_are_dropped_rather_than_blown_up(seed: int, off: float) -> None:
    delta, other = (side - BASE for side in normal((4, 8), seed=seed).sides)
    sides = [BASE + delta, BASE - delta + np.float32(off) * other]
    assert np.array_equal(merge_arrays(ModelStock(), sides, BASE), BASE)


def test_a_side_that_changed_nothing_has_no_say_in_the_direction() -> None:
    side = normal((4, 8)).sides[0]
    assert np.array_equal(merge_arrays(ModelStock(), [side, BASE.copy()], BASE), BASE)


def test_rows_are_merged_one_by_one() -> None:
    branches = _branches(0.7, 3)
    merged = merge_arrays(ModelStock(filter_wise=True), branches.sides, branches.base)
    for row in range(4):
        alone = merge_arrays(
            ModelStock(), [side[row] for side in branches.sides], branches.base[row]
        )
        assert np.abs(merged[row] - alone).max() < 1e-6


@given(st.integers(0, 2**32), st.booleans())
def test_the_result_is_never_beyond_the_sides(seed: int, rows: bool) -> None:
    branches = normal((4, 8), 3, seed=seed, spread=1.0)
    merged = merge_arrays(ModelStock(filter_wise=rows), branches.sides, branches.base)
    mean = sum(branches.sides) / 3
    low, high = np.minimum(mean, branches.base), np.maximum(mean, branches.base)
    assert (merged >= low - 1e-5).all()
    assert (merged <= high + 1e-5).all()


def test_there_must_be_a_base() -> None:
    assert ModelStock.kinds == {"content"}
    with pytest.raises(UsageError, match="needs a base"):
        merge_arrays(ModelStock(), [BASE, BASE])
