"""Sums along rows and columns: the same as those of each vector alone, in pieces or not."""

import functools
import operator
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from theta.strategies import sums, vectors
from theta.strategies.sums import Total
from theta.strategies.vectors import Columns, Rows, vectors_of

shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
Double = NDArray[np.float64]


def _along(found: Rows | Columns, values: Double) -> Double:
    totals = np.zeros(found.count)
    for here, start, stop in found.runs():
        found.add(found.shaped(values[start:stop].copy()), totals[here])
    return totals


def _one_by_one(values: list[float]) -> float:
    """Return what plain additions make; ``sum`` carries the error along since Python 3.12."""
    return functools.reduce(operator.add, values, 0.0)


def _numbers(shape: tuple[int, ...]) -> Double:
    rng = np.random.default_rng(len(shape))
    return rng.standard_normal(shape) * np.exp2(rng.integers(-20, 20, shape))


@settings(deadline=None)
@given(shapes, st.sampled_from(["tensor", "rows"]))
def test_rows_in_pieces_are_summed_as_total_sums_each(
    shape: tuple[int, ...], kind: vectors.Kind
) -> None:
    with (
        mock.patch.object(vectors, "BLOCK_ELEMENTS", 8),
        mock.patch.object(vectors, "SEGMENT", 4),
        mock.patch.object(sums, "SEGMENT", 4),
    ):
        _rows_are_summed(shape, kind)


@settings(deadline=None, max_examples=20)
@given(shapes, st.sampled_from(["tensor", "rows"]))
def test_rows_are_summed_as_total_sums_each(shape: tuple[int, ...], kind: vectors.Kind) -> None:
    _rows_are_summed(shape, kind)


def _rows_are_summed(shape: tuple[int, ...], kind: vectors.Kind) -> None:
    values = _numbers(shape)
    found = vectors_of(shape, kind)
    width = (shape or (1,))[-1] if kind == "rows" else values.size
    expected = []
    for row in values.reshape(-1, width) if values.size else np.empty((found.count, 0)):
        total = Total()
        total.add(row)
        expected.append(total.value)
    assert _along(found, values.reshape(-1)).tolist() == expected


@pytest.mark.parametrize("elements", [1 << 16, (1 << 19) + 12345, 3 << 19])
def test_a_long_vector_is_summed_as_total_sums_it(elements: int) -> None:
    values, total = _numbers((elements,)), Total()
    total.add(values)
    assert _along(vectors_of((elements,), "tensor"), values)[0] == total.value


@settings(deadline=None)
@given(shapes.filter(bool), st.sampled_from([1, 8, 1 << 19]))
def test_columns_are_summed_from_the_first_to_the_last(shape: tuple[int, ...], block: int) -> None:
    values = _numbers(shape)
    found = vectors_of(shape, "columns")
    columns = values.reshape(shape[0], found.count)
    expected = [_one_by_one(column.tolist()) for column in columns.T]
    with mock.patch.object(vectors, "BLOCK_ELEMENTS", block):
        assert _along(found, values.reshape(-1)).tolist() == expected


@pytest.mark.parametrize("kind", ["tensor", "rows", "columns"])
@given(shape=shapes, data=st.data())
def test_numbers_are_spread_over_the_elements(
    kind: vectors.Kind, shape: tuple[int, ...], data: st.DataObject
) -> None:
    found = vectors_of(shape, kind)
    elements = int(np.prod(shape))
    numbers = np.arange(found.count, dtype=np.float32)
    if kind == "columns" and shape:
        whole = np.tile(numbers, shape[0])
    else:
        whole = np.repeat(numbers, found.size)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, elements)] * 2)))
    spread = found.spread(numbers, start, stop)
    assert np.array_equal(np.broadcast_to(spread, (stop - start,)), whole[start:stop])


@pytest.mark.parametrize("kind", ["tensor", "rows", "columns"])
def test_runs_are_no_longer_than_a_block(kind: vectors.Kind) -> None:
    with mock.patch.object(vectors, "BLOCK_ELEMENTS", 8):
        for shape in [(3, 50), (50, 3), (2, 8), (100,), (5, 1)]:
            runs = list(vectors_of(shape, kind).runs())
            assert all(stop - start <= 8 for _, start, stop in runs)
            places = [place for _, start, stop in runs for place in range(start, stop)]
            assert places == list(range(int(np.prod(shape))))
