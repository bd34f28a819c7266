"""``tsv-m``: the strongest singular directions of each side, made orthogonal to one another.

Owns ``tsv-m/1`` (Gargiulo et al. 2025): of n differences of matrices whose shorter side is m, the
⌊m/n⌋ largest singular values and their vectors; the vectors of all sides beside each other, left
and right, are replaced by the nearest orthonormal ones (with UΣVᵀ the decomposition of all of
them: UVᵀ), and the product of the three is the merged difference. Of what is no matrix, or is
shorter than n, the mean.
"""

from typing import ClassVar

import numpy as np

from theta.strategies.base import Needs
from theta.strategies.spectra import BySpectrum, Spectrum, spectrum
from theta.strategies.values import Floats
from theta_store.arithmetic import weighted_sum


class TsvM(BySpectrum, frozen=True):
    """Task singular vectors, merged."""

    id: ClassVar[str] = "tsv-m"
    formula: ClassVar[str] = "tsv-m/1"
    needs: ClassVar[Needs] = Needs(base=True, reach="matrix", exact=False, least=1)

    def merged(self, deltas: list[Floats]) -> Floats:
        """Return the product of orthonormal vectors and the sides' singular values."""
        rank = min(deltas[0].shape) // len(deltas)
        if not rank:
            return weighted_sum(deltas, (1 / len(deltas),) * len(deltas))
        parts = [_strongest(delta, rank) for delta in deltas]
        values = np.concatenate([part.values for part in parts])
        left = _orthonormal(np.concatenate([part.left for part in parts], axis=1))
        right = _orthonormal(np.concatenate([part.right for part in parts]))
        return np.asarray((left * values) @ right)


def _strongest(delta: Floats, rank: int) -> Spectrum:
    whole = spectrum(delta)
    return Spectrum(whole.left[:, :rank], whole.values[:rank], whole.right[:rank])


def _orthonormal(vectors: Floats) -> Floats:
    """Return the nearest matrix whose singular values are all 1, or 0 where these have none."""
    parts = spectrum(vectors)
    return np.asarray(parts.left @ parts.right)
