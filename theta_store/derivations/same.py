"""The derivation ``same``: the bytes at the same place of a tensor of the same dtype and shape."""

from dataclasses import dataclass

from theta_store.chunking import ranges_of
from theta_store.derivations.base import Claim
from theta_store.forms import Need
from theta_store.ids import ChunkId
from theta_store.predictors import SAME
from theta_store.records import Tensor


@dataclass(frozen=True)
class Same:
    """Chunks of the base by where they start."""

    chunks: dict[int, ChunkId]

    @classmethod
    def of(cls, base: Tensor) -> "Same":
        """Return the derivation from a base."""
        starts = (start for start, _ in ranges_of(base))
        return cls(dict(zip(starts, base.chunks, strict=True)))

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return the base's own chunk: equal dtype and shape are cut alike."""
        return Claim(SAME, b"", (self.need(start, stop),))

    def need(self, start: int, stop: int) -> Need:
        """Return the base's chunk as a need."""
        return Need("chunk", self.chunks[start], 0, stop - start)
