"""The derivation ``weighted-sum``: what a linear merge makes of its parents' tensors."""

from dataclasses import dataclass

from theta_store.derivations.base import Claim
from theta_store.derivations.same import Same
from theta_store.predictors import WEIGHTED_SUM, weighted_sum
from theta_store.predictors.head import encode_head
from theta_store.records import Tensor


@dataclass(frozen=True)
class WeightedSum:
    """Parts in the order of the formula, each with its coefficient."""

    parts: tuple[Same, ...]
    params: bytes

    @classmethod
    def of(cls, parts: tuple[Tensor, ...], coefficients: tuple[float, ...]) -> "WeightedSum":
        """Return the derivation from tensors of one dtype and shape."""
        head = weighted_sum.Head(weighted_sum.FORMULA, parts[0].dtype, coefficients)
        return cls(tuple(map(Same.of, parts)), encode_head(head))

    def claim(self, start: int, stop: int) -> Claim:
        """Return the chunks of all parts at the same place."""
        needs = tuple(part.need(start, stop) for part in self.parts)
        return Claim(WEIGHTED_SUM, self.params, needs, computed=True)
