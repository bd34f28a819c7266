"""``iso-c``: the sum of the differences, as strong in each of its directions.

Owns ``iso-c/1`` (Marczak et al. 2025): of the sum of all differences, added in canonical order,
each singular value is replaced by their mean. Directions that are only rounding are no directions:
they get nothing, and do not count for the mean. Of what is no matrix, the mean of the differences.
"""

from typing import ClassVar

import numpy as np

from theta.strategies.spectra import BySpectrum, spectrum
from theta.strategies.values import Floats


class IsoC(BySpectrum, frozen=True):
    """Isotropic merging in the common subspace."""

    id: ClassVar[str] = "iso-c"
    formula: ClassVar[str] = "iso-c/1"

    def merged(self, deltas: list[Floats]) -> Floats:
        """Return the sum with equal singular values."""
        total = deltas[0].copy()
        for delta in deltas[1:]:
            total += delta
        if not np.isfinite(total).all():
            return total
        parts = spectrum(total)
        if not len(parts.values):
            return np.zeros_like(total)
        return np.asarray(parts.left @ parts.right * parts.values.mean())
