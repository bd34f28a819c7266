"""``mats``: the system of RegMean, solved by steps from the mean of the sides.

Owns ``mats/1`` (Tam, Bansal and Raffel 2024): conjugate gradients (Hestenes and Stiefel 1952) on
the system of `theta.strategies.grams`, one for each output, from a correction of 0. What few steps
leave unsolved is what the inputs hardly tell about, and stays as in the mean. An output is left as
it is when its residual has shrunk to ``SOLVED``, or when the next step goes where the Gram
matrices are no more than rounding.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from theta.strategies.base import Share
from theta.strategies.grams import ByInputs, Matrix, System

SOLVED = 1e-14


class Mats(ByInputs, frozen=True):
    """Matching models in their task subspaces: at most ``iterations`` conjugate gradients."""

    id: ClassVar[str] = "mats"
    formula: ClassVar[str] = "mats/1"
    alpha: Share = 1.0
    iterations: Annotated[int, msgspec.Meta(ge=1)] = 100

    def solution(self, system: System) -> Matrix:
        """Return the correction after the last iteration."""
        found = np.zeros_like(system.wanted)
        left = system.wanted.copy()
        toward = left.copy()
        length = _squares(left)
        enough = length * SOLVED**2
        going = length > 0
        unknown = system.gram.diagonal() * system.rounding
        for _ in range(self.iterations):
            ahead = system.gram @ toward
            curvature = np.einsum("io,io->o", toward, ahead)
            going &= (length > enough) & (curvature > unknown @ toward**2)
            if not going.any():
                break
            step = np.divide(length, curvature, out=np.zeros_like(length), where=going)
            found += step * toward
            left -= step * ahead
            now = _squares(left)
            toward *= np.divide(now, length, out=np.zeros_like(length), where=going)
            toward += left
            length = now
        return found


def _squares(columns: Matrix) -> Matrix:
    return np.asarray(np.einsum("io,io->o", columns, columns))
