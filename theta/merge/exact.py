"""Merges without a strategy: changes of different rows, or of different elements, are all kept.

Owns the search for such changes, and the tensor that holds them all. Bytes are compared, a chunk of
every term at a time, and the result has the bits of one side or of the base in every element. Must
not know plans, nor when an exact merge is wanted.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from theta.strategies.base import Strategy
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.records import Tensor
from theta_store.store import Store, ranges_of

# A change of more elements than this is no sparse update.
SPARSE = 0.1
Codes = NDArray[np.unsignedinteger]


class Union(Strategy, frozen=True):
    """Keep all changes; the engine does it by bytes, `UnionSource`."""


class Rows(Union, frozen=True):
    """Each row along the first axis was changed by one side, or by several in the same way."""

    id: ClassVar[str] = "rows"
    formula: ClassVar[str] = "rows/1"


class Elements(Union, frozen=True):
    """Few elements were changed by each side, none by two in different ways."""

    id: ClassVar[str] = "elements"
    formula: ClassVar[str] = "elements/1"


@dataclass(frozen=True)
class Terms:
    """A tensor of several sides and of their base: one dtype and shape."""

    store: Store
    ids: tuple[TensorId, ...]
    base_id: TensorId

    @cached_property
    def sides(self) -> tuple[Tensor, ...]:
        """The records of the sides."""
        return tuple(map(self.store.tensor, self.ids))

    @cached_property
    def base(self) -> Tensor:
        """The record of the base."""
        return self.store.tensor(self.base_id)

    @property
    def fit(self) -> bool:
        """Whether all have one dtype and shape, and elements of 1, 2, 4 or 8 bytes."""
        specs = {(term.dtype, term.shape) for term in (*self.sides, self.base)}
        row = dtype(self.base.dtype)
        return len(specs) == 1 and row.block == 1 and row.nbytes in {1, 2, 4, 8}

    def read(self, start: int, stop: int, *, near: int | None = None) -> tuple[list[Codes], Codes]:
        """Return the elements of a range of bytes as whole numbers: of the sides, of the base.

        ``near``: the number of the term that something is stored on next.
        """
        terms = (*self.sides, self.base)
        plain = [np.empty(stop - start, np.uint8) for _ in terms]
        self.store.read_ranges(terms, start, [each.data for each in plain], near=near)
        *sides, base = (each.view(f"<u{dtype(self.base.dtype).nbytes}") for each in plain)
        return sides, base

    def chunks(self) -> Iterator[tuple[int, list[Codes], Codes]]:
        """Yield the number of each chunk's first element, and its elements."""
        size = dtype(self.base.dtype).nbytes
        for start, stop in ranges_of(self.base):
            sides, base = self.read(start, stop)
            yield start // size, sides, base


def rows_differ(terms: Terms) -> bool:
    """Say whether every row was changed in one way at most; the first that was not ends the search.

    A tensor without axes has no rows.
    """
    shape = terms.base.shape
    if not terms.fit or not shape or not math.prod(shape):
        return False
    width = math.prod(shape[1:])
    changed = [np.zeros(shape[0], bool) for _ in terms.sides]
    apart = {pair: np.zeros(shape[0], bool) for pair in _pairs(terms)}
    for start, sides, base in terms.chunks():
        for rows, side in zip(changed, sides, strict=True):
            _mark(rows, side != base, start, width)
        for (one, two), rows in apart.items():
            _mark(rows, sides[one] != sides[two], start, width)
            if (changed[one] & changed[two] & rows).any():
                return False
    return True


def _mark(rows: NDArray[np.bool_], mask: NDArray[np.bool_], start: int, width: int) -> None:
    """Mark the rows of the elements that a mask names; it begins at element ``start``."""
    rows[(np.flatnonzero(mask) + start) // width] = True


def elements_differ(terms: Terms) -> bool:
    """Say whether each side changed few elements, and none was changed in two ways."""
    if not terms.fit:
        return False
    most = SPARSE * terms.base.count
    counts = [0] * len(terms.sides)
    for _, sides, base in terms.chunks():
        masks = [side != base for side in sides]
        counts = [n + int(np.count_nonzero(mask)) for n, mask in zip(counts, masks, strict=True)]
        if max(counts) > most:
            return False
        for one, two in _pairs(terms):
            both = masks[one] & masks[two]
            if both.any() and (sides[one][both] != sides[two][both]).any():
                return False
    return True


def _pairs(terms: Terms) -> Sequence[tuple[int, int]]:
    return list(itertools.combinations(range(len(terms.sides)), 2))


@dataclass(frozen=True)
class UnionSource:
    """The tensor that has every side's changes, computed range by range."""

    terms: Terms
    finite: bool = True

    @property
    def dtype(self) -> str:
        """Name of the dtype, the same in all terms."""
        return self.terms.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, the same in all terms."""
        return self.terms.base.shape

    @property
    def ahead(self) -> int:
        """Nothing is to be prepared."""
        return 0

    def prepare(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Forget what was prepared: nothing."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the merged bytes from ``start``."""
        sides, base = self.terms.read(start, start + len(out), near=0)
        merged = base.copy()
        for side in sides:
            np.copyto(merged, side, where=side != base)
        out[:] = merged.view(np.uint8).data
