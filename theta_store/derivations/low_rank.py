"""The derivation ``low-rank``: a base plus the product of two stored thin factors."""

from dataclasses import dataclass

from theta_store.derivations.base import Claim
from theta_store.derivations.same import Same
from theta_store.dtypes import DType
from theta_store.forms import Need
from theta_store.ids import TensorId
from theta_store.predictors import LOW_RANK, low_rank
from theta_store.predictors.head import encode_head

FACTOR_BYTES = 4


@dataclass(frozen=True)
class LowRank:
    """A base seen as a matrix of ``columns`` columns; factors are float32, left and right."""

    base: Same
    left: TensorId
    right: TensorId
    rank: int
    formula: int
    dtype: DType
    columns: int

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return the base's chunk, its rows of the left factor, and the whole right one."""
        at, count = start // self.dtype.nbytes, (stop - start) // self.dtype.nbytes
        bits = low_rank.bits_for(self.rank)
        head = low_rank.Head(self.formula, self.dtype.name, self.rank, bits, self.columns, at)
        first, last = low_rank.rows_range(head, count)
        step = self.rank * FACTOR_BYTES
        needs = (
            self.base.need(start, stop),
            Need("tensor", self.left, first * step, last * step),
            Need("tensor", self.right, 0, self.rank * self.columns * FACTOR_BYTES),
        )
        return Claim(LOW_RANK, encode_head(head), needs, computed=True)
