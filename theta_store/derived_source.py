"""A tensor that follows from stored ones, as a source: computed as the form computes it.

Owns nothing but the way from a hint to bytes. Whoever stores what it reads here gets the form
without computing the values again. Must not know merges, nor adapters' files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from theta_store.arithmetic import is_finite
from theta_store.chunks import Chunks
from theta_store.derivations import LowRank, Same, WeightedSum
from theta_store.dtypes import dtype
from theta_store.hints import Adapter
from theta_store.predictors import low_rank
from theta_store.records import Tensor
from theta_store.scratch import Scratch


@dataclass(frozen=True)
class DerivedSource:
    """What a derivation says; ``read_into`` takes the ranges of whole chunks, from any thread."""

    dtype: str
    shape: tuple[int, ...]
    derivation: WeightedSum | LowRank
    chunks: Chunks
    scratch: Callable[[], Scratch]

    @classmethod
    def sum_of(
        cls,
        terms: tuple[Tensor, ...],
        coefficients: tuple[float, ...],
        chunks: Chunks,
        scratch: Callable[[], Scratch],
    ) -> "DerivedSource":
        """Return Σ cᵢ · termᵢ, of tensors of one dtype and shape."""
        derivation = WeightedSum.of(terms, coefficients)
        return cls(terms[0].dtype, terms[0].shape, derivation, chunks, scratch)

    @classmethod
    def adapted(
        cls,
        base: Tensor,
        update: Adapter,
        rank: int,
        chunks: Chunks,
        scratch: Callable[[], Scratch],
    ) -> "DerivedSource":
        """Return base + left · right, rounded once; the factors must fit the base."""
        row, columns = dtype(base.dtype), prod(base.shape[1:])
        same = Same.of(base)
        formula = low_rank.SUM_FIRST
        derivation = LowRank(same, update.left, update.right, rank, formula, row, columns)
        return cls(base.dtype, base.shape, derivation, chunks, scratch)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the plain bytes of the chunk at ``start``."""
        self.read_finite(start, out)

    def read_finite(self, start: int, out: memoryview) -> bool:
        """Do the same; of a sum, say whether no term holds a NaN or an infinity there."""
        claim = self.derivation.claim(start, start + len(out))
        assert claim is not None
        plain, needs = self.chunks.guess(claim, len(out), self.scratch())
        out[:] = plain.data
        row = dtype(self.dtype)
        return all(is_finite(need, row) for need in needs)
