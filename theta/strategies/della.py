"""``della`` and ``della-linear``: drop elements at random, small ones of a row more likely.

Owns the formulas ``della/1`` and ``della-linear/1`` (Deep et al. 2024). In a row of n elements the
one of rank i by magnitude, from 0, of equal ones the earlier first, is kept with probability
(density − epsilon) + 2r · epsilon, r = i / (n − 1), and r = ½ where n is 1; each number and each
step is float32. It is kept where its random number is below that. The rest is rescaled by L1 norms
as in ``dare``. ``della`` elects signs as ``ties`` does (variant ``mergekit``), ``della-linear``
adds the deltas up as ``task-arithmetic`` does. A density of 1 keeps all.

A row runs along the second axis; a tensor with fewer axes is one row. Rows are held whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import AtLeastZero, Kernel, Needs, Share
from theta.strategies.deltas import add_scaled, kernel_of
from theta.strategies.rescaling import Kept, Rescaling, norm_ratios
from theta.strategies.thinning import Thinning
from theta.strategies.trimming import keep_only, magnitudes
from theta.strategies.values import BLOCK_ELEMENTS, Block, Floats, Values


class DellaLinear(Thinning, frozen=True):
    """Drop at random by rank, rescale, add up."""

    id: ClassVar[str] = "della-linear"
    formula: ClassVar[str] = "della-linear/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="tensor", random=True)
    density: Share = 1.0
    epsilon: AtLeastZero = 0.15
    rescale: Literal["l1", "none"] = "l1"

    def __post_init__(self) -> None:
        """Refuse probabilities that are not above 0 and below 1."""
        if self.density < 1 and not self.epsilon < self.density < 1 - self.epsilon:
            raise ValueError(f"{self.id}: density ± epsilon must be above 0 and below 1")

    def prepare(self, values: Values) -> Kernel:
        """Measure what is left of each delta."""
        merger = self.merger(values.count)
        if self.density == 1:
            return kernel_of(lambda _, deltas: merger.merge(deltas), self.lambda_)
        drop = _Drop(values, self.density, self.epsilon)
        rescaling = Rescaling()
        if self.rescale == "l1":
            rescaling = Rescaling(factors=norm_ratios(values.count, drop.whole()))

        def kernel(block: Block) -> Floats:
            assert block.base is not None, "the strategy declares that it needs a base"
            with np.errstate(all="ignore"):
                for side, kept in enumerate(drop.kept(block)):
                    rescaling.apply(side, keep_only(block.deltas[side], kept))
                return add_scaled(block.base, merger.merge(block.deltas), self.lambda_)

        return kernel


class Della(DellaLinear, frozen=True):
    """Drop at random by rank, rescale, elect signs, merge what agrees."""

    id: ClassVar[str] = "della"
    formula: ClassVar[str] = "della/1"
    elects: ClassVar[bool] = True
    normalize: bool = True


@dataclass(frozen=True)
class _Drop:
    """Which elements of one parameter are kept."""

    values: Values
    density: float
    epsilon: float

    @property
    def axes(self) -> tuple[int, int]:
        """Length of a row, and the distance between its neighbours."""
        shape = self.values.shape
        if len(shape) < 2:
            return self.values.elements, 1
        return shape[1], int(np.prod(shape[2:], dtype=np.int64))

    def whole(self) -> Iterator[tuple[Sequence[Floats], Kept]]:
        """Yield the deltas of the whole tensor and what is kept of them, whole rows at a time."""
        length, step = self.axes
        rows = max(1, BLOCK_ELEMENTS // max(length * step, 1))
        for block in self.values.blocks(max(rows * length * step, 1)):
            yield block.deltas, self.kept(block)

    def kept(self, block: Block) -> Kept:
        """Say what is kept of the deltas of a block, which may cut rows."""
        length, step = self.axes
        unit = max(length * step, 1)
        start, stop = block.start // unit * unit, -(-block.stop // unit) * unit
        whole = start == block.start and stop == block.stop
        rows = block if whole else self.values.read(start, stop)
        part = slice(block.start - start, block.stop - start)
        return [
            self.values.uniform(side, block.start, block.stop) < self._chances(delta)[part]
            for side, delta in enumerate(rows.deltas)
        ]

    def _chances(self, deltas: Floats) -> NDArray[np.float32]:
        """Return with which probability each element of whole rows is kept."""
        length, step = self.axes
        if length < 2:
            places = np.full(len(deltas), 0.5, np.float32)
        else:
            size = magnitudes(deltas).reshape(-1, length, step)
            order = np.argsort(size, axis=1, kind="stable")
            ranks = np.empty(size.shape, np.float32)
            every = np.arange(length, dtype=np.float32)[None, :, None]
            np.put_along_axis(ranks, order, np.broadcast_to(every, size.shape), axis=1)
            places = ranks.reshape(-1) / np.float32(length - 1)
        chances: NDArray[np.float32] = places * np.float32(2)
        chances *= np.float32(self.epsilon)
        chances += np.float32(self.density - self.epsilon)
        return chances
