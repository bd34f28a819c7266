"""A range of a matrix's elements in memory order, as rectangles small enough to compute in cache.

Owns how a chunk, which may begin and end within a row, is cut. Must not know what is computed in
the rectangles.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from theta_store.predictors.head import check

# Working memory beyond this comes from fresh pages, which cost more than the arithmetic.
BLOCK_ELEMENTS = 1 << 15


@dataclass(frozen=True, slots=True)
class Rectangle:
    """The elements [start, stop) of a chunk: rows [top, bottom) times columns [left, right).

    Rows are counted from the one that the chunk begins in.
    """

    start: int
    stop: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left


def rectangles(
    start: int, count: int, columns: int, most: int = BLOCK_ELEMENTS
) -> Iterator[Rectangle]:
    """Yield rectangles that make up ``count`` elements from element ``start`` on, in order.

    None has more than ``most`` elements.
    """
    check(columns > 0 and start >= 0, f"{columns} columns")
    at, top, column = 0, 0, start % columns
    while at < count:
        left = count - at
        rows = min(left // columns, most // columns) if column == 0 else 0
        width = columns if rows else min(columns - column, left, most)
        rows = rows or 1
        yield Rectangle(at, at + rows * width, top, top + rows, column, column + width)
        at, column = at + rows * width, column + width
        if column == columns:
            top, column = top + rows, 0


def touched_rows(start: int, count: int, columns: int) -> tuple[int, int]:
    """Return the rows [first, last) of the matrix that ``count`` elements from ``start`` are in."""
    return start // columns, -(-(start + count) // columns)


def touched_columns(start: int, count: int, columns: int) -> tuple[int, int]:
    """Return the columns [first, last) that ``count`` elements from ``start`` are in."""
    first = start % columns
    return (first, first + count) if first + count <= columns else (0, columns)


def blocks(count: int, most: int = BLOCK_ELEMENTS) -> Iterator[slice]:
    """Yield slices of at most ``most`` that make up ``count`` elements."""
    for start in range(0, count, most):
        yield slice(start, min(start + most, count))
