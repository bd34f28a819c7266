"""``regmean``: the linear layer that answers as all sides do on their own inputs.

Owns ``regmean/1`` (Jin et al. 2023): the system of `theta.strategies.grams`, scaled to a diagonal
of ones, solved directly. To the diagonal is added what the Gram matrices are rounded by, at least
``JITTER``, and then more, until there is a Cholesky factor.
"""

from typing import ClassVar

import numpy as np

from theta.strategies.grams import ByInputs, Matrix, System
from theta_store.errors import UsageError

JITTER = 1e-10
MORE = 100.0
MOST = 1e-2


class RegMean(ByInputs, frozen=True):
    """Regression mean: least squares over the inputs of all sides."""

    id: ClassVar[str] = "regmean"
    formula: ClassVar[str] = "regmean/1"

    def solution(self, system: System) -> Matrix:
        """Return the correction; Gram matrices that are none are a `UsageError`."""
        diagonal = system.gram.diagonal()
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
        gram = system.gram * scale[:, None] * scale
        _make_definite(gram, max(JITTER, system.rounding))
        wanted = system.wanted * scale[:, None]
        return np.asarray(np.linalg.solve(gram, wanted)) * scale[:, None]


def _make_definite(gram: Matrix, jitter: float) -> None:
    """Raise the diagonal of ones, in place, until there is a Cholesky factor."""
    while jitter <= MOST:
        np.fill_diagonal(gram, 1 + jitter)
        try:
            np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            jitter *= MORE
        else:
            return
    raise UsageError("a Gram matrix is not positive: it is no sum of products of inputs")
