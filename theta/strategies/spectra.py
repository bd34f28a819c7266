"""Merging matrices by the singular vectors of what the sides made of the base.

Owns singular value decompositions without the directions that are only rounding, and what
``tsv-m``, ``iso-c`` and ``knots`` share: the merged difference, made of whole matrices, is added
to the base. Must not know how differences are merged.

All of it in the dtype of the block.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from theta.strategies.base import ConflictKind, Kernel, Needs, Positive, Strategy
from theta.strategies.values import Block, Floats, Values
from theta_store.arithmetic import weighted_sum


@dataclass(frozen=True)
class Spectrum:
    """A matrix as ``left`` (rows × r) · ``values`` (r, falling) · ``right`` (r × columns)."""

    left: Floats
    values: Floats
    right: Floats


def spectrum(matrix: Floats) -> Spectrum:
    """Return the singular values and vectors of a finite matrix.

    A value is left out that is no more than the largest one times the larger side times the
    spacing of numbers at 1: its vectors are rounding.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    least = values[0] * max(matrix.shape) * np.finfo(matrix.dtype).eps if len(values) else 0
    rank = int(np.count_nonzero(values > least))
    return Spectrum(left[:, :rank], values[:rank], right[:rank])


class BySpectrum(Strategy, frozen=True):
    """A merge of the differences of whole matrices; ``alpha`` is what the result is scaled by.

    Of what is no matrix, and of differences that are not finite, the mean is taken.
    """

    needs: ClassVar[Needs] = Needs(base=True, reach="matrix", exact=False)
    kinds: ClassVar[frozenset[ConflictKind]] = frozenset({"content"})
    alpha: Positive = 1.0

    def prepare(self, values: Values) -> Kernel:
        """Return the base and the merged difference, added."""
        if len(values.shape) != 2 or not values.elements:
            return self.otherwise(values)
        block = values.whole()
        deltas = [delta.reshape(values.shape) for delta in block.deltas]
        if not all(np.isfinite(delta).all() for delta in deltas):
            return self.otherwise(values)
        with np.errstate(all="ignore"):
            merged = self.merged(deltas).reshape(-1) * block.sides[0].dtype.type(self.alpha)

        def kernel(block: Block) -> Floats:
            assert block.base is not None
            return block.base + merged[block.start : block.stop]

        return kernel

    def merged(self, deltas: list[Floats]) -> Floats:
        """Return the merged difference of finite matrices."""
        raise NotImplementedError

    def otherwise(self, values: Values) -> Kernel:
        """Return the kernel for differences that have no spectrum: the base and their mean."""
        coefficients = (self.alpha / values.count,) * values.count

        def kernel(block: Block) -> Floats:
            assert block.base is not None
            return block.base + weighted_sum(block.deltas, coefficients)

        return kernel
