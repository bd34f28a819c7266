"""Rectangles cover a range of a matrix exactly once, in order."""

from hypothesis import example, given
from hypothesis import strategies as st

from theta_store.predictors.matrix import (
    blocks,
    rectangles,
    touched_columns,
    touched_rows,
)


@given(
    start=st.integers(0, 60), count=st.integers(0, 90), columns=st.integers(1, 20),
    most=st.integers(1, 50),
)  # fmt: skip
@example(start=5, count=7, columns=4, most=2)
def test_rectangles_are_the_range(start: int, count: int, columns: int, most: int) -> None:
    first, last = touched_rows(start, count, columns)
    left, right = touched_columns(start, count, columns)
    at = 0
    for part in rectangles(start, count, columns, most):
        assert part.start == at
        assert 0 < part.stop - part.start <= most
        assert part.shape[0] * part.shape[1] == part.stop - part.start
        assert part.shape[0] == 1 or part.shape[1] == columns
        assert (first + part.top) * columns + part.left == start + at
        assert first + part.bottom <= last
        assert left <= part.left < part.right <= right
        at = part.stop
    assert at == count


@given(count=st.integers(0, 99), most=st.integers(1, 20))
def test_blocks_are_the_whole(count: int, most: int) -> None:
    places = [place for block in blocks(count, most) for place in range(count)[block]]
    assert places == list(range(count))
    assert all(block.stop - block.start <= most for block in blocks(count, most))
