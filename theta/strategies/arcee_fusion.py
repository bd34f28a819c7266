"""``arcee-fusion``: one side, and the other where the change is important.

Owns the formula ``arcee-fusion/1`` (Arcee AI 2024). With a the side it starts from, b the other, d
= b − a rounded to float32, and KL for each row of the last axis the divergence of softmax(b) from
softmax(a), rounded to float32: the importance of an element is |d|·KL. Elements whose importance is
at least median + 1.5 · (upper − lower quartile) are b, the others a. Quantile q of n elements is
number ⌊q·(n − 1)⌋ in order, exact; the threshold is in float32.

KL = Σ e^(b−max b)·(b − a) / S_b − (log S_b − log S_a) − (max b − max a), with S = Σ e^(x−max x), in
float64 with the portable functions, sums as `Total` adds; at least 0. Where no change stands out,
as in rows of one element, all importances are 0 and all elements are b.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import Kernel, Needs
from theta.strategies.directed import Directed
from theta.strategies.portable import exp, log
from theta.strategies.ranks import ranked
from theta.strategies.values import Block, Values
from theta.strategies.vectors import Columns, Rows, vectors_of
from theta_store.arithmetic import Floats

Single = NDArray[np.float32]
Double = NDArray[np.float64]


class ArceeFusion(Directed, frozen=True):
    """From one side to the other where the change is far above the usual one."""

    id: ClassVar[str] = "arcee-fusion"
    formula: ClassVar[str] = "arcee-fusion/1"
    needs: ClassVar[Needs] = Needs(reach="tensor", most=2)

    def prepare(self, values: Values) -> Kernel:
        """Return the choice; finds the divergence of each row and the threshold."""
        rows = vectors_of(values.shape, "rows")
        with np.errstate(all="ignore"):
            divergence = self._divergence(values, rows).astype(np.float32)

        def importance(block: Block) -> Single:
            with np.errstate(all="ignore"):
                change = block.sides[self.end] - block.sides[self.start]
                found: Single = np.abs(change).astype(np.float32, copy=False)
                found *= rows.spread(divergence, block.start, block.stop)
            return found

        threshold = _threshold(values.elements, lambda: map(importance, values.blocks()))

        def kernel(block: Block) -> Floats:
            start, end = block.sides[self.start], block.sides[self.end]
            np.copyto(start, end, where=importance(block) >= threshold)
            return start

        return kernel

    def _divergence(self, values: Values, rows: Rows | Columns) -> Double:
        top = np.full((2, rows.count), -np.inf)
        for here, _, old, new in self._pieces(values, rows):
            np.maximum(top[0, here], old.max(axis=1), out=top[0, here])
            np.maximum(top[1, here], new.max(axis=1), out=top[1, here])
        sums = np.zeros((3, rows.count))
        for here, change, old, new in self._pieces(values, rows):
            old -= top[0, here, None]
            new -= top[1, here, None]
            share = exp(new)
            change *= share
            for place, piece in enumerate((exp(old), share, change)):
                rows.add(piece, sums[place, here])
        found: Double = sums[2] / sums[1] - (log(sums[1]) - log(sums[0])) - (top[1] - top[0])
        return np.maximum(found, 0, out=found)

    def _pieces(
        self, values: Values, rows: Rows | Columns
    ) -> Iterator[tuple[slice, Double, Double, Double]]:
        """Yield runs as float64: which rows, the change, both sides."""
        for here, start, stop in rows.runs():
            sides = [
                rows.shaped(side).astype(np.float64) for side in values.read(start, stop).sides
            ]
            yield here, sides[self.end] - sides[self.start], sides[self.start], sides[self.end]


def _threshold(elements: int, read: Callable[[], Iterable[Single]]) -> np.float32:
    """Return the threshold of importances, which are read twice."""
    if not elements:
        return np.float32(0)
    places = [(elements - 1) * quarter // 4 for quarter in (1, 2, 3)]
    lower, median, upper = ranked(places, read)
    with np.errstate(all="ignore"):
        threshold: np.float32 = median + np.float32(1.5) * (upper - lower)
    return threshold
