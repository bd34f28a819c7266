"""``union-rows`` against a slow reading of its rules, for every cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.strategies.arrays import ArrayValues, merge_arrays
from theta.strategies.union_rows import RowValues, UnionRows
from theta.strategies.values import Block, Floats

# Few values, so that rows are often equal; both zeros, and a number that halving cannot keep.
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 3.0, 0.1, 1.4e-45])


class Aligned(ArrayValues, RowValues):
    """Rows in memory, some of which a term lacks."""


def _row(base: Floats | None, sides: list[Floats], like: Floats) -> Floats:
    """Return a merged row; ``sides`` are those that have it."""
    changed = [s for s in sides if base is None or s.tobytes() != base.tobytes()]
    if not changed:
        return np.zeros_like(like) if base is None else base
    if len({side.tobytes() for side in changed}) == 1:
        return changed[0]
    share = np.float32(1 / len(changed))
    total = changed[0] * share
    for side in changed[1:]:
        total = total + side * share
    return total


@st.composite
def tables(draw: st.DrawFn) -> list[np.ndarray]:
    """A base and two or three sides of one shape."""
    rows, width = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    count = draw(st.integers(3, 4))
    numbers = draw(st.lists(NUMBERS, min_size=count * rows * width, max_size=count * rows * width))
    return list(np.array(numbers, np.float32).reshape(count, rows, width))


@given(tables(), st.integers(1, 7))
def test_rows_that_every_term_has(terms: list[np.ndarray], cut: int) -> None:
    base, *sides = terms
    made = merge_arrays(UnionRows(), sides, base, cut=cut)
    expected = [_row(base[n], [side[n] for side in sides], base[n]) for n in range(len(base))]
    assert made.tobytes() == np.array(expected).tobytes()


@given(tables(), st.data())
def test_rows_that_some_terms_lack(terms: list[np.ndarray], data: st.DataObject) -> None:
    base, *sides = terms
    marks = st.lists(st.booleans(), min_size=len(base), max_size=len(base))
    values = Aligned("w", sides, base.copy(), [0] * len(sides))
    values.based = np.array(data.draw(marks))
    values.present = np.array([data.draw(marks) for _ in sides])
    # What is missing reads as the base, which is zero where it is missing itself.
    base[~values.based] = 0
    values.base = base
    for side, here in zip(sides, values.present, strict=True):
        side[~here] = base[~here]
    made = UnionRows().prepare(values)(values.whole()).reshape(base.shape)
    expected = [
        _row(
            base[n] if values.based[n] else None,
            [side[n] for side, here in zip(sides, values.present, strict=True) if here[n]],
            base[n],
        )
        for n in range(len(base))
    ]
    assert made.tobytes() == np.array(expected).tobytes()


def test_a_new_row_counts_even_where_it_reads_as_what_stands_for_the_base() -> None:
    zero, one = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    values = Aligned("w", [zero, one], zero, [0, 0])
    values.based, values.present = np.array([False]), np.array([[True], [True]])
    assert UnionRows().prepare(values)(values.whole()).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1,), (4,), (2, 3, 2)])
def test_every_shape(shape: tuple[int, ...]) -> None:
    base = np.ones(shape, np.float32)
    assert np.array_equal(merge_arrays(UnionRows(), [base + 1, base], base), base + 1)
    assert np.array_equal(merge_arrays(UnionRows(), [base + 1, base + 3], base), base + 2)


def test_long_rows_are_read_in_pieces() -> None:
    base = np.zeros((2, (1 << 19) + 5), np.float32)
    one, two = base.copy(), base.copy()
    one[0, -1] = 2
    two[1, 0] = 4
    two[0, 0] = 6
    made = merge_arrays(UnionRows(), [one, two], base, cut=100_003)
    assert made[0, 0] == 3
    assert made[0, -1] == 1
    assert made[1, 0] == 4


def test_doubles_stay_doubles() -> None:
    base = np.zeros((1, 1))
    made = merge_arrays(UnionRows(), [base + 1 / 3, base + 1], base)
    assert made.dtype == np.float64
    assert made[0, 0] == (1 / 3) * 0.5 + 0.5


def test_a_block_is_left_alone() -> None:
    base, side = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
    values = ArrayValues("w", [side, side], base, [0, 0])
    block: Block = values.whole()
    kept = block.sides[0].copy()
    UnionRows().prepare(values)(block)
    assert np.array_equal(block.sides[0], kept)
