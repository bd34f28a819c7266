"""The derivation ``rescale``: a base times a vector along an axis."""

from dataclasses import dataclass

from theta_store.derivations.base import Claim
from theta_store.derivations.same import Same
from theta_store.dtypes import DType
from theta_store.forms import Need
from theta_store.ids import TensorId
from theta_store.predictors import RESCALE, rescale
from theta_store.predictors.head import encode_head


@dataclass(frozen=True)
class Rescale:
    """A base seen as a matrix of ``columns`` columns, and the stored vector."""

    base: Same
    vector: TensorId
    axis: int
    dtype: DType
    columns: int

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return the base's chunk and the part of the vector that it meets."""
        at, count = start // self.dtype.nbytes, (stop - start) // self.dtype.nbytes
        head = rescale.Head(rescale.FORMULA, self.dtype.name, self.axis, self.columns, at)
        first, last = rescale.vector_range(head, count)
        width = 8 if self.dtype.name == "F64" else 4
        vector = Need("tensor", self.vector, first * width, last * width)
        needs = (self.base.need(start, stop), vector)
        return Claim(RESCALE, encode_head(head), needs, computed=True)
