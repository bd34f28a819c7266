"""The weighted sum of stored tensors as a source: computed as the form `weighted-sum` computes it.

Owns nothing but the way from a hint to bytes. Whoever stores what it reads here gets the form
without computing the sum again. Must not know merges.
"""

from collections.abc import Callable
from dataclasses import dataclass

from theta_store.arithmetic import is_finite
from theta_store.chunks import Chunks
from theta_store.derivations import WeightedSum
from theta_store.dtypes import dtype
from theta_store.records import Tensor
from theta_store.scratch import Scratch


@dataclass(frozen=True)
class SumSource:
    """Σ cᵢ · tensorᵢ; ``read_into`` takes the ranges of whole chunks, from any thread."""

    dtype: str
    shape: tuple[int, ...]
    derivation: WeightedSum
    chunks: Chunks
    scratch: Callable[[], Scratch]

    @classmethod
    def of(
        cls,
        terms: tuple[Tensor, ...],
        coefficients: tuple[float, ...],
        chunks: Chunks,
        scratch: Callable[[], Scratch],
    ) -> "SumSource":
        """Return the sum of tensors of one dtype and shape."""
        derivation = WeightedSum.of(terms, coefficients)
        return cls(terms[0].dtype, terms[0].shape, derivation, chunks, scratch)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the plain bytes of the chunk at ``start``."""
        self.read_finite(start, out)

    def read_finite(self, start: int, out: memoryview) -> bool:
        """Do the same; say whether no term holds a NaN or an infinity there."""
        claim = self.derivation.claim(start, start + len(out))
        plain, terms = self.chunks.guess(claim, len(out), self.scratch())
        out[:] = plain.data
        row = dtype(self.dtype)
        return all(is_finite(term, row) for term in terms)
