"""A tensor seen as vectors: all of it, its rows, or its columns.

Owns the runs to read them by, sums along them that are the same bits on every machine, and numbers
per vector for any run of elements. Must not know strategies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theta.strategies.sums import SEGMENT
from theta.strategies.values import BLOCK_ELEMENTS
from theta_store.arithmetic import Floats

Kind = Literal["tensor", "rows", "columns"]
Single = NDArray[np.float32]
Double = NDArray[np.float64]
# Which vectors a run touches, and the places of its elements.
Run = tuple[slice, int, int]


@dataclass(frozen=True)
class Rows:
    """So many vectors, one after the other, each of ``size`` elements."""

    count: int
    size: int

    def runs(self) -> Iterator[Run]:
        """Yield the tensor in runs: a number of vectors or, of a long one, a piece.

        A piece begins at a multiple of the segment of `Total`.
        """
        if self.size > BLOCK_ELEMENTS:
            for row in range(self.count):
                first, end = row * self.size, (row + 1) * self.size
                for start in range(first, end, BLOCK_ELEMENTS):
                    yield slice(row, row + 1), start, min(start + BLOCK_ELEMENTS, end)
        elif self.size:
            step = BLOCK_ELEMENTS // self.size
            for row in range(0, self.count, step):
                stop = min(row + step, self.count)
                yield slice(row, stop), row * self.size, stop * self.size

    def shaped(self, run: Floats) -> Floats:
        """Return the elements of a run as vectors × elements."""
        return run.reshape(-1, min(self.size, len(run)))

    def add(self, shaped: Double, totals: Double) -> None:
        """Add the sum of each vector to its total, as `Total` does it; a run is overwritten.

        The upper half of a segment that is not full is shorter: there `Total` adds zeros.
        """
        for left in range(0, shaped.shape[1], SEGMENT):
            segment = shaped[:, left : left + SEGMENT]
            width = segment.shape[1]
            while width > 1:
                half = 1 << (width - 1).bit_length() - 1
                segment[:, : width - half] += segment[:, half:width]
                width = half
            totals += segment[:, 0]

    def spread(self, numbers: Single, start: int, stop: int) -> Single:
        """Return for each element from ``start`` to ``stop`` the number of its vector."""
        if self.count <= 1:
            return numbers
        first = start // self.size
        repeated = np.repeat(numbers[first : -(-stop // self.size)], self.size)
        found: Single = repeated[start - first * self.size : stop - first * self.size]
        return found


@dataclass(frozen=True)
class Columns:
    """So many vectors side by side, each of ``size`` elements."""

    count: int
    size: int

    def runs(self) -> Iterator[Run]:
        """Yield the tensor in runs: some elements of all vectors or, of many, one of some."""
        if self.count > BLOCK_ELEMENTS:
            for first in range(0, self.size * self.count, self.count):
                for left in range(0, self.count, BLOCK_ELEMENTS):
                    right = min(left + BLOCK_ELEMENTS, self.count)
                    yield slice(left, right), first + left, first + right
        elif self.count:
            step, end = BLOCK_ELEMENTS // self.count * self.count, self.size * self.count
            for start in range(0, end, step):
                yield slice(0, self.count), start, min(start + step, end)

    def shaped(self, run: Floats) -> Floats:
        """Return the elements of a run as elements × vectors."""
        return run.reshape(-1, min(self.count, len(run)))

    def add(self, shaped: Double, totals: Double) -> None:
        """Add the elements of each vector to its total, from the first to the last.

        A run is overwritten.
        """
        if self.count > len(shaped):
            for elements in shaped:
                totals += elements
        else:
            # The same additions in the same order, without a step of Python for each.
            shaped[0] += totals
            np.add.accumulate(shaped, axis=0, out=shaped)
            totals[:] = shaped[-1]

    def spread(self, numbers: Single, start: int, stop: int) -> Single:
        """Return for each element from ``start`` to ``stop`` the number of its vector."""
        if self.count <= 1:
            return numbers
        left = start % self.count
        repeated = np.tile(numbers, -(-(left + stop - start) // self.count))
        found: Single = repeated[left : left + stop - start]
        return found


def vectors_of(shape: tuple[int, ...], kind: Kind) -> Rows | Columns:
    """Return a tensor as one vector, by its last axis, or by its first one; a scalar has both."""
    elements = int(np.prod(shape, dtype=np.int64))
    if kind == "tensor" or not shape:
        return Rows(1, elements)
    size = shape[-1] if kind == "rows" else shape[0]
    count = elements // size if size else 0
    return Rows(count, size) if kind == "rows" else Columns(count, size)
