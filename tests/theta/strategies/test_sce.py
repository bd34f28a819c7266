"""SCE selects by variance and weighs by change."""

import numpy as np
import pytest

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.sce import Sce
from theta.strategies.ties import Ties


def test_weights_are_the_shares_of_squared_change() -> None:
    base = np.zeros(4, "f4")
    sides = [np.full(4, 3.0, "f4"), np.full(4, 1.0, "f4")]
    merged = merge_arrays(Sce(), sides, base)
    assert merged == pytest.approx(0.9 * 3 + 0.1 * 1)


def test_equal_changes_weigh_alike() -> None:
    branches = normal((50,), 1)
    delta = branches.deltas[0]
    sides = [branches.base + delta, branches.base - delta]
    merged = merge_arrays(Sce(), sides, branches.base)
    ties = merge_arrays(Ties(), sides, branches.base)
    assert np.allclose(merged, ties, rtol=0, atol=1e-6)


def test_the_elements_that_differ_most_are_kept() -> None:
    base = np.zeros(6, "f4")
    sides = [np.array([9, 1, 0, 4, 0, 5], "f4"), np.array([9, 0, 0, -4, 0, 2], "f4")]
    # The variances are 0, 1/4, 0, 16, 0, 9/4: half of the three that are not 0 is one element.
    merged = merge_arrays(Sce(select_topk=0.5), sides, base)
    assert list(np.flatnonzero(merged)) == [3]
    merged = merge_arrays(Sce(select_topk=0.9), sides, base)
    assert list(np.flatnonzero(merged)) == [3, 5]
    merged = merge_arrays(Sce(select_topk=1), sides, base)
    assert list(np.flatnonzero(merged)) == [0, 1, 3, 5]


def test_one_differing_element_is_kept_however_few_are_wanted() -> None:
    base = np.zeros(3, "f4")
    sides = [np.array([0, 2, 0], "f4"), base]
    assert list(merge_arrays(Sce(select_topk=0.01), sides, base)) == [0, 2, 0]


def test_where_the_sides_do_not_differ_the_base_stays() -> None:
    base = np.ones(3, "f4")
    same = np.full(3, 2, "f4")
    assert np.array_equal(merge_arrays(Sce(select_topk=0.5), [same, same], base), base)


@pytest.mark.parametrize("size", [1e-9, 1e15])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_size_of_the_changes_is_immaterial(size: float, share: float) -> None:
    base = np.zeros(64, "f4")
    sides = normal((64,), 3, spread=1).deltas
    whole = merge_arrays(Sce(select_topk=share), sides, base)
    scaled = merge_arrays(Sce(select_topk=share), [s * np.float32(size) for s in sides], base)
    assert np.allclose(scaled / np.float32(size), whole, rtol=1e-5, atol=1e-6)
