"""What strategies see: the terms of one parameter as numbers, run by run.

Owns blocks, the interface to the terms, and the random numbers of a merge. Must not know where the
values are kept. Sides come in canonical order, so that the order of arguments is immaterial.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import Floats

__all__ = [
    "BLOCK_ELEMENTS",
    "Block",
    "Evidence",
    "Floats",
    "Values",
    "philox_key",
    "philox_uniform",
]

BLOCK_ELEMENTS = 1 << 19


@dataclass(frozen=True)
class Block:
    """A run of elements of every term, flat, float32 or float64, all of one dtype.

    ``start`` is the place of the first one in the tensor. The arrays belong to the reader of the
    block: a kernel may compute in place.
    """

    start: int
    sides: tuple[Floats, ...]
    base: Floats | None = None

    @property
    def stop(self) -> int:
        """The place behind the last element."""
        return self.start + len(self.sides[0])

    @cached_property
    def deltas(self) -> tuple[Floats, ...]:
        """What each side made of the base: side minus base, rounded; made once."""
        assert self.base is not None, "the strategy declares that it needs no base"
        with np.errstate(all="ignore"):
            return tuple(side - self.base for side in self.sides)


class Evidence(Protocol):
    """A statistic of one side's parameter, such as its Fisher information."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the statistic: that of the parameter, or d × d for a Gram matrix."""

    @property
    def norm(self) -> float:
        """L2 norm of this statistic over the whole model of the side; 1 where it means nothing."""

    def read(self, start: int, stop: int) -> Floats:
        """Return the elements from ``start`` to ``stop``, flat."""


class Values(ABC):
    """The terms of one parameter; every method may be called from any thread."""

    name: str
    shape: tuple[int, ...]
    count: int
    has_base: bool

    @property
    def is_cheap(self) -> bool:
        """Whether to read something once more costs next to nothing."""
        return False

    @abstractmethod
    def read(self, start: int, stop: int) -> Block:
        """Return the elements from ``start`` to ``stop``."""

    @abstractmethod
    def uniform(self, side: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return a side's random numbers for these elements, in [0, 1), multiples of 2⁻²⁴."""

    @abstractmethod
    def statistic(self, kind: str) -> Sequence[Evidence]:
        """Return a statistic of each side; a `UsageError` says which side has none."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def blocks(self, elements: int = BLOCK_ELEMENTS) -> Iterator[Block]:
        """Yield the whole tensor, run by run, in order."""
        for start in range(0, self.elements, elements):
            yield self.read(start, min(start + elements, self.elements))

    def whole(self) -> Block:
        """Return the whole tensor."""
        return self.read(0, self.elements)


def philox_key(seed: int, strategy: str, name: str, parent: bytes) -> int:
    """Return the 128-bit key of the random numbers of one parent of one parameter.

    SHA-256 of the seed in decimal, the strategy, the name (UTF-8) and the parent's id, each with
    its length in front (four bytes little-endian); the first 16 bytes, little-endian.
    """
    digest = hashlib.sha256()
    for part in (str(seed).encode(), strategy.encode(), name.encode(), parent):
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return int.from_bytes(digest.digest()[:16], "little")


def philox_uniform(key: int, start: int, stop: int) -> NDArray[np.float32]:
    """Return elements ``start`` to ``stop`` of a stream of numbers in [0, 1).

    Philox 4×64-10 (Salmon et al. 2011): element i is half i mod 2, low half first, of word i // 2
    of the stream whose counter begins at 0; its upper 24 bits over 2²⁴. A pure function of the key
    and the place, so neither cuts nor threads can be seen in the result.
    """
    first = start // 8
    generator = np.random.Philox(key=key, counter=first)
    words = generator.random_raw(-(-(stop - first * 8) // 2)) if stop > start else np.empty(0)
    halves = np.asarray(words, "<u8").view("<u4")[start - first * 8 : stop - first * 8]
    made: NDArray[np.float32] = (halves >> np.uint32(8)).astype(np.float32)
    made *= np.float32(2.0**-24)
    return made
