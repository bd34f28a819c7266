"""The derivation ``cast``: the values of a tensor of the same shape and another dtype."""

from dataclasses import dataclass

from theta_store.derivations.base import Claim
from theta_store.dtypes import DType, dtype
from theta_store.forms import Need
from theta_store.ids import TensorId
from theta_store.predictors import CAST, cast
from theta_store.predictors.head import encode_head
from theta_store.records import Tensor


@dataclass(frozen=True)
class Cast:
    """A base in another dtype."""

    id: TensorId
    base: Tensor
    dtype: DType

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return the base's elements at the same places."""
        base = dtype(self.base.dtype)
        left, right = cast.base_range(start, stop, base, self.dtype)
        params = encode_head(cast.Head(cast.FORMULA, base.name, self.dtype.name))
        return Claim(CAST, params, (Need("tensor", self.id, left, right),), computed=True)
