"""RAM keeps what one side changed, and averages what several did."""

import numpy as np
from hypothesis import given

from tests.theta.strategies.branches import Branches, lattices
from theta.strategies.arrays import merge_arrays
from theta.strategies.ram import Ram


@given(lattices())
def test_changes_are_united(branches: Branches) -> None:
    deltas = np.array(branches.deltas, "f4")
    counts = np.count_nonzero(deltas, axis=0)
    mean = deltas.sum(axis=0) / np.maximum(counts, 1)
    merged = merge_arrays(Ram(), *branches.terms)
    assert np.allclose(merged, branches.base + mean, rtol=0, atol=1e-6)


def test_disjoint_changes_are_kept_to_the_bit() -> None:
    base = np.linspace(1, 2, 8, dtype="f4")
    left, right = base.copy(), base.copy()
    left[:3] += np.float32(0.3)
    right[5:] *= np.float32(1.5)
    merged = merge_arrays(Ram(), [left, right], base)
    assert np.array_equal(merged, np.concatenate([left[:4], right[4:]]))


def test_what_is_no_more_than_epsilon_is_no_change() -> None:
    base = np.zeros(3, "f4")
    sides = [np.array([0.25, 0.5, 1], "f4"), np.array([2, 0.5, 0.25], "f4")]
    assert list(merge_arrays(Ram(epsilon=0.25), sides, base)) == [2, 0.5, 1]


def test_what_a_side_has_for_itself_is_strengthened() -> None:
    base = np.zeros(5, "f4")
    left = np.array([1, 1, 1, 1, 0], "f4")
    right = np.array([2, 0, 0, 0, 2], "f4")
    # The left shares 1 and has 3 for itself, the right shares 1 and has 1.
    merged = merge_arrays(Ram(r=0.5, alpha=0.5), [left, right], base)
    third = np.float32(1 + 0.5 * (1 / 3))
    assert np.array_equal(merged, np.array([1.5, third, third, third, 2.5], "f4"))
