"""The other side where the change is important: against a plain reading of the formula."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.strategies.branches import normal
from theta.strategies import arcee_fusion, values, vectors
from theta.strategies.arcee_fusion import ArceeFusion
from theta.strategies.arrays import ArrayValues, merge_arrays
from theta.strategies.values import Floats
from theta.strategies.vectors import vectors_of


def _importance(start: Floats, end: Floats) -> Floats:
    def softmax(rows: Floats) -> Floats:
        powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    old, new = softmax(start.astype("f8")), softmax(end.astype("f8"))
    divergence = (new * np.log(new / old)).sum(axis=-1, keepdims=True)
    return np.abs(end.astype("f8") - start) * divergence


@given(st.integers(0, 2**32), st.sampled_from([(9, 16), (50,), (3, 4, 5)]))
def test_elements_of_an_importance_above_the_threshold_are_taken(
    seed: int, shape: tuple[int, ...]
) -> None:
    start, end = normal(shape, seed=seed, spread=1.0).sides
    importance = _importance(start, end)
    lower, median, upper = (
        np.sort(importance.reshape(-1))[int(q * (importance.size - 1))] for q in (0.25, 0.5, 0.75)
    )
    over = importance / (median + 1.5 * (upper - lower)) - 1
    merged = merge_arrays(ArceeFusion(), [start, end])
    assert np.array_equal(merged[over > 1e-5], end[over > 1e-5])
    assert np.array_equal(merged[over < -1e-5], start[over < -1e-5])


def test_the_direction_may_be_turned_round() -> None:
    start, end = normal((9, 16)).sides
    turned = merge_arrays(ArceeFusion(ends=(1, 0)), [end, start])
    assert np.array_equal(turned, merge_arrays(ArceeFusion(), [start, end]))
    assert not np.array_equal(turned, merge_arrays(ArceeFusion(), [end, start]))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([8, 100, 1 << 12]))
def test_long_rows_are_read_in_pieces(block: int) -> None:
    start, end = normal((3, 1000)).sides
    whole = merge_arrays(ArceeFusion(), [start, end])
    with (
        mock.patch.object(vectors, "BLOCK_ELEMENTS", block),
        mock.patch.object(values, "BLOCK_ELEMENTS", block),
    ):
        assert np.array_equal(merge_arrays(ArceeFusion(), [start, end]), whole)


@given(st.integers(0, 2**32))
def test_a_divergence_is_never_negative(seed: int) -> None:
    """Of rows that are nearly equal it is lost in rounding."""
    start = normal((8, 16), seed=seed, kind=np.float64).base
    end = np.nextafter(start, 2)
    values = ArrayValues("w", [start, end], None, [0, 0])
    assert (ArceeFusion()._divergence(values, vectors_of((8, 16), "rows")) >= 0).all()


def test_large_values_do_not_overflow() -> None:
    start = np.array([[1000.0, -1000.0, 0.0, 5.0]] * 4, np.float32)
    end = start + np.eye(4, dtype=np.float32) * 50
    merged = merge_arrays(ArceeFusion(), [start, end])
    assert ((merged == start) | (merged == end)).all()


@pytest.mark.parametrize("shape", [(6, 1), (1,), ()])
def test_where_no_change_stands_out_all_are_taken(shape: tuple[int, ...]) -> None:
    start, end = normal(shape).sides
    assert np.array_equal(merge_arrays(ArceeFusion(), [start, end]), end)


def test_two_runs_agree_above_a_million_elements() -> None:
    """mergekit samples there."""
    start, end = normal((1100, 1000)).sides
    first = merge_arrays(ArceeFusion(), [start, end])
    assert np.array_equal(first, merge_arrays(ArceeFusion(), [start, end], cut=70_001))
    assert 0 < (first == end).mean() < 0.2
    assert arcee_fusion.ArceeFusion.needs.exact
