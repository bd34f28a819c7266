"""Signs are elected and deltas merged as the definition says, element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import Branches, lattices
from theta.strategies.election import Election

WEIGHTS = st.sampled_from([1.0, 0.5, 2.0, 0.25, -1.0])


def _element(deltas: list[float], weights: list[float], election: Election) -> float:
    """Merge one element by exact arithmetic: quarters and powers of two."""
    weighted = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
    voting = weighted if election.weigh_first else deltas
    total = sum(voting)
    sign = 0 if total == 0 and not election.zero_elects else -1 if total < 0 else 1
    agree = [n for n, vote in enumerate(voting) if vote * sign > 0]
    merged = sum(weighted[n] for n in agree)
    by = {"none": 1, "number": len(agree), "weights": sum(weights[n] for n in agree)}
    return merged / (by[election.divisor] or 1)


@given(
    lattices(),
    st.data(),
    st.sampled_from(["weights", "number", "none"]),
    st.booleans(),
    st.booleans(),
)
def test_elements_are_merged_by_the_definition(
    branches: Branches, data: st.DataObject, divisor, weigh_first: bool, zero_elects: bool
) -> None:
    count = len(branches.sides)
    weights = data.draw(st.lists(WEIGHTS, min_size=count, max_size=count))
    election = Election(tuple(weights), divisor, weigh_first=weigh_first, zero_elects=zero_elects)
    expected = [
        _element([float(d) for d in element], weights, election)
        for element in zip(*branches.deltas, strict=True)
    ]
    merged = election.merge([delta.copy() for delta in branches.deltas])
    assert np.array_equal(merged, np.array(expected, "f4"))


@pytest.mark.parametrize("weigh_first", [False, True])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (-1.0, -1.0), (-1.0, 2.0)])
def test_no_merged_zero_is_negative(weights: tuple[float, float], weigh_first: bool) -> None:
    zeros = np.array([0.0, -0.0, -0.0, 0.0], "f4"), np.array([0.0, -0.0, 0.0, -0.0], "f4")
    merged = Election(weights, "weights", weigh_first=weigh_first).merge(zeros)
    assert not np.signbit(merged).any()


def test_more_sides_than_a_byte_counts() -> None:
    deltas = [np.full(3, 1.0 if n else -1.0, "f4") for n in range(300)]
    merged = Election((1.0,) * 300, "number", weigh_first=False).merge(deltas)
    assert merged.tolist() == [1.0] * 3


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_sums_round_alike_for_both_signs(kind: str) -> None:
    random = np.random.Generator(np.random.PCG64(3))
    deltas = [random.standard_normal(500).astype(kind) for _ in range(3)]
    election = Election((0.3, 0.5, 0.7), "weights")
    plus = election.merge([delta.copy() for delta in deltas])
    minus = election.merge([-delta for delta in deltas])
    assert plus.dtype == kind
    assert np.array_equal(plus, -minus)


def test_infinite_deltas_that_cancel_elect_plus() -> None:
    with np.errstate(invalid="ignore"):
        merged = Election((1.0, 1.0), "weights").merge(
            [np.array([np.inf], "f4"), np.array([-np.inf], "f4")]
        )
    assert merged[0] == np.inf


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("divisor", ["weights", "number"])
def test_no_nan_is_lost(weights: tuple[float, ...], divisor) -> None:
    one = np.array([np.nan, 1, np.nan, -1], "f4")
    two = np.array([1, -np.nan, np.nan, -2], "f4")
    merged = Election(weights, divisor).merge([one, two])
    assert np.isnan(merged).tolist() == [True, True, True, False]


def test_no_zero_is_negative_where_all_fall_away() -> None:
    zeros = [np.array([-0.0, 0.0, -0.0], "f4") for _ in range(3)]
    merged = Election((1.0, 1.0, 1.0), "weights").merge(zeros)
    assert not np.signbit(merged).any()
