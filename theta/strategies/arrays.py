"""Merging arrays in memory: a strategy by itself, without a repository.

Owns `merge_arrays` and the terms that it makes. Must not know the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import Strategy
from theta.strategies.values import Block, Evidence, Floats, Values, philox_key, philox_uniform
from theta_store.errors import UsageError


@dataclass(frozen=True)
class ArrayEvidence:
    """A statistic in memory."""

    values: Floats
    norm: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the statistic."""
        return self.values.shape

    def read(self, start: int, stop: int) -> Floats:
        """Return a run of elements, flat."""
        return self.values.reshape(-1)[start:stop].copy()


@dataclass
class ArrayValues(Values):
    """Terms in memory: float32 or float64, sides in canonical order."""

    name: str
    sides: Sequence[Floats]
    base: Floats | None
    keys: Sequence[int]
    evidence: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape = self.sides[0].shape
        self.count = len(self.sides)
        self.has_base = self.base is not None

    def read(self, start: int, stop: int) -> Block:
        """Return copies, since kernels may compute in place."""
        base = None if self.base is None else self.base.reshape(-1)[start:stop].copy()
        return Block(start, tuple(s.reshape(-1)[start:stop].copy() for s in self.sides), base)

    def uniform(self, side: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return a side's random numbers."""
        return philox_uniform(self.keys[side], start, stop)

    def statistic(self, kind: str) -> Sequence[Evidence]:
        """Return a statistic of each side."""
        if kind not in self.evidence:
            raise UsageError(f"{self.name}: no {kind} was given")
        return self.evidence[kind]


def merge_arrays(
    strategy: Strategy,
    sides: Sequence[Floats],
    base: Floats | None = None,
    *,
    name: str = "",
    seed: int = 0,
    statistics: Mapping[str, Sequence[Floats]] | None = None,
    cut: int | None = None,
) -> Floats:
    """Merge arrays of one shape and dtype (float32 or float64) by a strategy.

    The order of the sides is taken as the canonical one. ``cut``: compute so many elements at a
    time; the result is the same for every cut.
    """
    keys = [philox_key(seed, strategy.id, name, bytes((n,))) for n in range(len(sides))]
    found = {
        kind: [ArrayEvidence(each, _norm(each)) for each in given]
        for kind, given in (statistics or {}).items()
    }
    values = ArrayValues(name, sides, base, keys, found)
    strategy.check(values.count)
    if strategy.needs.base and base is None:
        raise UsageError(f"{strategy.id} needs a base")
    kernel = strategy.prepare(values)
    out = np.empty(values.elements, sides[0].dtype)
    step = cut or max(values.elements, 1)
    with np.errstate(all="ignore"):
        for start in range(0, values.elements, step):
            block = values.read(start, min(start + step, values.elements))
            out[block.start : block.stop] = kernel(block)
    return out.reshape(values.shape)


def _norm(values: Floats) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))
