"""TIES trims, elects and merges as defined; a density of 1 needs no look at the values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, kept_by_sorting, lattices, normal
from theta.strategies.arrays import ArrayValues, merge_arrays
from theta.strategies.election import Election
from theta.strategies.ties import Ties
from theta.strategies.values import BLOCK_ELEMENTS, Block
from theta_store.errors import UsageError

DENSITIES = st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0])


@given(lattices(), DENSITIES)
def test_the_greatest_of_each_delta_are_merged(branches: Branches, density: float) -> None:
    size = branches.base.size
    count = max(1, int(density * size))
    trimmed = [kept_by_sorting(delta, count) for delta in branches.deltas]
    election = Election((1.0,) * len(trimmed), "weights")
    merged = merge_arrays(Ties(density=density), *branches.terms)
    assert np.array_equal(merged, branches.base + election.merge(trimmed))


@given(lattices(), st.data())
def test_sides_that_agree_give_the_weighted_mean(branches: Branches, data: st.DataObject) -> None:
    weights = st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=4, max_size=4)
    weight = tuple(data.draw(weights)[: len(branches.sides)])
    deltas = [np.abs(delta) + np.float32(0.25) for delta in branches.deltas]
    sides = [branches.base + delta for delta in deltas]
    merged = merge_arrays(Ties(weight=weight), sides, branches.base)
    mean = sum(w * d for w, d in zip(weight, deltas, strict=True)) / sum(weight)
    assert np.allclose(merged, branches.base + mean, rtol=1e-6, atol=1e-6)


def _element(variant: str, weight: tuple[float, ...], *deltas: float) -> float:
    sides = [np.array([delta], "f4") for delta in deltas]
    strategy = Ties(variant=variant, weight=weight)
    return float(merge_arrays(strategy, sides, np.zeros(1, "f4"))[0])


def test_variants_differ_in_when_they_weigh_and_what_they_divide_by() -> None:
    assert _element("mergekit", (1.0, 4.0), 2, -1) == -1
    assert _element("peft", (1.0, 4.0), 2, -1) == 2
    assert _element("mergekit", (0.5, 0.5), 2, 1) == 1.5
    assert _element("peft", (0.5, 0.5), 2, 1) == 0.75
    assert _element("paper", (), 2, 1) == 1.5


def test_a_draw_is_plus_except_in_the_paper() -> None:
    assert _element("mergekit", (), 2, -2) == 2
    assert _element("peft", (), 2, -2) == 2
    assert _element("paper", (), 2, -2) == 0


def test_a_draw_of_magnitudes_keeps_the_first_elements_in_any_cut() -> None:
    size = 2 * BLOCK_ELEMENTS + 1000
    base = np.zeros(size, "f4")
    sides = [np.full(size, 0.5, "f4"), np.full(size, 0.5, "f4")]
    strategy = Ties(density=0.6)
    expected = np.where(np.arange(size) < int(0.6 * size), np.float32(0.5), 0)
    for cut in (None, 1_000_003):
        assert np.array_equal(merge_arrays(strategy, sides, base, cut=cut), expected)


def test_a_large_tensor_is_merged_alike_in_any_cut() -> None:
    branches = normal((BLOCK_ELEMENTS + 777,))
    strategy = Ties(density=0.2, weight=(0.3, 0.7))
    whole = merge_arrays(strategy, *branches.terms)
    assert whole.tobytes() == merge_arrays(strategy, *branches.terms, cut=99_991).tobytes()


class _Unread(ArrayValues):
    def read(self, start: int, stop: int) -> Block:
        raise AssertionError("nothing needs to be known")


def test_a_density_of_one_reads_nothing() -> None:
    branches = normal((100,))
    Ties().prepare(_Unread("w", *branches.terms, ()))
    with pytest.raises(AssertionError, match=r"nothing needs"):
        Ties(density=0.5).prepare(_Unread("w", *branches.terms, ()))


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UsageError, match=r"trim=global is not supported"):
        Ties(trim="global").check(2)
    with pytest.raises(UsageError, match=r"takes no weights"):
        Ties(variant="paper", weight=(1.0, 2.0)).check(2)
    with pytest.raises(UsageError, match=r"3 weights for 2 sides"):
        Ties(weight=(1.0, 2.0, 3.0)).check(2)
