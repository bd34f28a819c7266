"""Terms for merge tests: a base and what the sides made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from theta.strategies.base import Strategy, permuted
from theta.strategies.values import Floats


@dataclass(frozen=True)
class Branches:
    base: Floats
    sides: Sequence[Floats]

    def swapped(self, order: Sequence[int]) -> "Branches":
        return Branches(self.base, [self.sides[place] for place in order])

    @property
    def terms(self) -> tuple[Sequence[Floats], Floats]:
        return self.sides, self.base

    @property
    def deltas(self) -> list[Floats]:
        return [side - self.base for side in self.sides]


def normal(
    shape: tuple[int, ...],
    count: int = 2,
    *,
    seed: int = 0,
    kind: type[np.floating] = np.float32,
    spread: float = 0.1,
) -> Branches:
    """Independent changes of every element."""
    random = np.random.Generator(np.random.PCG64(seed))
    base = random.standard_normal(shape).astype(kind)
    sides = [base + (spread * random.standard_normal(shape)).astype(kind) for _ in range(count)]
    return Branches(base, [np.asarray(side, kind) for side in sides])


def swap(strategy: Strategy, branches: Branches, order: Sequence[int]) -> tuple[Strategy, Branches]:
    return permuted(strategy, order), branches.swapped(order)


@st.composite
def lattices(draw: st.DrawFn, least: int = 2, most: int = 4) -> Branches:
    """Small multiples of 1/4: sums are exact, and magnitudes are often equal."""
    count = draw(st.integers(least, most))
    size = draw(st.integers(0, 24))
    quarter = st.integers(-6, 6).map(lambda number: number / 4)
    rows = st.lists(quarter, min_size=size, max_size=size).map(lambda row: np.array(row, "f4"))
    base = draw(rows)
    return Branches(base, [base + draw(rows) for _ in range(count)])


def kept_by_sorting(deltas: Floats, count: int, skipped: int = 0) -> Floats:
    """Keep ``count`` of the greatest magnitudes behind the first ones, ties by index."""
    flat = deltas.reshape(-1)
    order = sorted(range(len(flat)), key=lambda place: (-abs(float(flat[place])), place))
    out = np.zeros_like(flat)
    chosen = order[skipped : skipped + count]
    out[chosen] = flat[chosen]
    return out.reshape(deltas.shape)
