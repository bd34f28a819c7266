"""Merging linear layers by what their inputs were: one linear system for all sides.

Owns the system that ``regmean`` and ``mats`` solve, and what both do with parameters that are no
matrices: the mean of the sides, weighed. Must not know how the system is solved.

A side's Gram matrix G is XᵀX/n over the n inputs (the rows of X) of the layer. The merged weight W
minimises Σ ‖X(W − Wᵢ)ᵀ‖² over all sides: W·ΣGᵢ = ΣWᵢGᵢ (Jin et al. 2023). Solved is for what W
differs by from the mean M of the sides: (W − M)·ΣGᵢ = Σ(Wᵢ − M)Gᵢ, so that an input which was
always 0 leaves the mean as it is. All of it in float64.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import (
    Kernel,
    Needs,
    Share,
    Strategy,
    Weights,
    shares_of,
    weights_of,
)
from theta.strategies.values import Block, Evidence, Floats, Values
from theta_store.arithmetic import weighted_sum
from theta_store.errors import UsageError

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class System:
    """``gram`` (inputs × inputs) times the correction (inputs × outputs) is ``wanted``.

    ``rounding``: the relative rounding of the numbers that the Gram matrices were kept as.
    """

    gram: Matrix
    wanted: Matrix
    rounding: float


class ByInputs(Strategy, frozen=True):
    """A merge of linear layers that the Gram matrices of their inputs decide.

    ``alpha``: what is not on the diagonal of a Gram matrix counts so much. ``transposed``: weights
    lie as inputs × outputs, as in the Conv1D of GPT-2; else as outputs × inputs.
    """

    needs: ClassVar[Needs] = Needs(reach="matrix", statistics=("gram",), exact=False)
    weight: Weights = ()
    alpha: Share = 0.9
    transposed: bool = False

    def check(self, count: int) -> None:
        """Refuse weights below 0, and weights that are all 0."""
        super().check(count)
        weights = weights_of(self.weight, count)
        if min(weights) < 0 or max(weights) <= 0:
            raise UsageError(f"{self.id}: weights are at least 0, and one is more")

    def prepare(self, values: Values) -> Kernel:
        """Return the solution's elements; of what is no matrix, the weighted mean."""
        shares = shares_of(self.weight, values.count, self.id)
        if len(values.shape) != 2 or not values.elements:
            return lambda block: weighted_sum(block.sides, shares)
        merged = self._merged(values, shares)

        def kernel(block: Block) -> Floats:
            return merged[block.start : block.stop].copy()

        return kernel

    def solution(self, system: System) -> Matrix:
        """Return the correction, inputs × outputs; the system's arrays may be overwritten."""
        raise NotImplementedError

    def _merged(self, values: Values, shares: Weights) -> Floats:
        """Return the merged weight, flat."""
        block = values.whole()
        with np.errstate(all="ignore"):
            mean = weighted_sum(block.sides, shares)
            steps = [
                self._inputs_first((side.astype(np.float64) - mean).reshape(values.shape))
                for side in block.sides
            ]
            if not all(np.isfinite(step).all() for step in steps):
                return mean
            system = self._system(values, steps, shares)
            correction = self._inputs_first(self.solution(system)).reshape(-1)
            merged: Floats = mean.copy()
            merged[:] = mean + correction
            return merged

    def _inputs_first(self, matrix: Matrix) -> Matrix:
        return matrix if self.transposed else matrix.T

    def _system(self, values: Values, steps: list[Matrix], shares: Weights) -> System:
        inputs, outputs = steps[0].shape
        gram, wanted = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
        rounding = 0.0
        for side, step, share in zip(values.statistic("gram"), steps, shares, strict=True):
            kept = _read(side, values.name, inputs)
            rounding = max(rounding, float(np.finfo(kept.dtype).eps))
            one = kept.astype(np.float64)
            diagonal = one.diagonal().copy()
            one *= self.alpha
            np.fill_diagonal(one, diagonal)
            one *= share
            gram += one
            wanted += one @ step
        return System(gram, wanted, rounding)


def _read(side: Evidence, name: str, inputs: int) -> Floats:
    """Return a side's Gram matrix."""
    if side.shape != (inputs, inputs):
        raise UsageError(
            f"{name}: its Gram matrix has shape {side.shape}, its inputs want {(inputs, inputs)}; "
            "see transposed"
        )
    gram = side.read(0, inputs * inputs).reshape(inputs, inputs)
    if not np.isfinite(gram).all() or (gram.diagonal() < 0).any():
        raise UsageError(f"{name}: its Gram matrix is not one of finite inputs")
    return gram
