"""``knots``: what the sides made of the base, in directions that they have in common.

Owns ``knots/1`` (Stoica et al. 2024): the differences of n matrices beside each other, in canonical
order, are decomposed into UΣ[V₁ … Vₙ]; another strategy merges the Vᵢ, with 0 as their base, and
UΣ times the result is the merged difference. What is no matrix is merged by the other strategy as
it is.
"""

from typing import ClassVar, Literal

import msgspec
import numpy as np

from theta.strategies import STRATEGIES
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Kernel, Share, Strategy, Weights
from theta.strategies.spectra import BySpectrum, spectrum
from theta.strategies.values import Floats, Values


class Knots(BySpectrum, frozen=True):
    """Knowledge orientation through the singular value decomposition, before another strategy.

    ``density`` is for ``ties`` alone.
    """

    id: ClassVar[str] = "knots"
    formula: ClassVar[str] = "knots/1"
    method: Literal["task-arithmetic", "ties"] = "ties"
    weight: Weights = ()
    density: Share = 0.2

    def merged(self, deltas: list[Floats]) -> Floats:
        """Return what the common directions carry of the merged parts."""
        rows, columns = deltas[0].shape
        beside = np.empty((rows, columns * len(deltas)), deltas[0].dtype)
        parts = spectrum(np.concatenate(deltas, axis=1, out=beside))
        if not len(parts.values):
            return np.zeros_like(deltas[0])
        rights = [parts.right[:, n * columns :][:, :columns] for n in range(len(deltas))]
        right = merge_arrays(self._inner(1.0), rights, np.zeros_like(rights[0]))
        return np.asarray((parts.left * parts.values) @ right)

    def otherwise(self, values: Values) -> Kernel:
        """Return the other strategy's kernel."""
        return self._inner(self.alpha).prepare(values)

    def _inner(self, scale: float) -> Strategy:
        given = {"weight": self.weight, "lambda": scale}
        if self.method == "ties":
            given["density"] = self.density
        return msgspec.convert(given, STRATEGIES.get(self.method))
