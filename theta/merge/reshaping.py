"""Sides that differ in shape, as terms of one shape: what comes before a strategy.

Owns ``shape=pad``, ``shape=truncate`` and the alignment of rows: where each element of the result
lies in every term, and what stands in for those that a term lacks. Must not know rules, nor who
decides. Read run by run: memory grows with the run, not with the tensors.

Frozen: what the base lacks is the average (``average/1``) of the sides that have it, or what they
agree on, or 0 where no side has it. What a side lacks is as in the base, so that it counts as
unchanged.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from theta.merge.decisions import changed, reshapes, rows_of
from theta.merge.plan import Conflict, Plan
from theta.merge.row_map import RowMap
from theta.merge.sources import Side, StoredValues
from theta.strategies import Strategy
from theta.strategies.union_rows import Marks, RowValues, UnionRows
from theta.strategies.values import BLOCK_ELEMENTS, Block, Floats
from theta.terms import ABSENT, Absent
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.records import Tensor
from theta_store.store import Store

Places = NDArray[np.int64]
Shape = tuple[int, ...]
# Bytes between two pieces that are read too, rather than reading twice.
GAP = 1 << 14
# Bytes that are read at once.
SPAN = 1 << 21
# Elements of the longest piece: what is read of a term begins and ends with whole pieces.
PIECE = 1 << 16


class Reshape(ABC):
    """How terms of several shapes become terms of one shape; sides in canonical order.

    Every term is cut into pieces of one length; the result has whole pieces of the terms.
    """

    shape: Shape

    @property
    @abstractmethod
    def unit(self) -> int:
        """Number of elements of a piece."""

    @abstractmethod
    def places(self, term: int | None, first: int, last: int) -> Places:
        """Return which pieces of a side, or of the base (None), a run of pieces of the result is.

        −1 where the term has no such piece.
        """

    @property
    @abstractmethod
    def key(self) -> str:
        """A text that is the same only for what reshapes in the same way."""

    def pieces(self, start: int, stop: int) -> tuple[int, int]:
        """Return the run of pieces that has these elements."""
        return start // self.unit, -(-stop // self.unit)


def _unit(elements: int) -> int:
    """Return the longest piece of which so many elements are a multiple."""
    if elements <= PIECE:
        return max(elements, 1)
    return next(size for size in range(PIECE, 0, -1) if elements % size == 0)


@dataclass(frozen=True)
class Boxes(Reshape):
    """Every term's corner at the origin stays where it is; ``shape`` is that of the result."""

    shape: Shape
    sides: tuple[Shape, ...]
    base: Shape

    @property
    def key(self) -> str:
        """The shapes."""
        return f"{self.shape} {self.sides} {self.base}"

    @cached_property
    def unit(self) -> int:
        """Number of elements below the last axis in which any term differs."""
        return _unit(math.prod(self.shape[self._axes :]))

    @cached_property
    def _axes(self) -> int:
        """How many axes there are up to the last one in which any term differs."""
        terms = (*self.sides, self.base)
        apart = (n for n, size in enumerate(self.shape, 1) if {t[n - 1] for t in terms} != {size})
        return max(apart, default=0)

    def places(self, term: int | None, first: int, last: int) -> Places:
        """Return the pieces of a run, which ascend."""
        own = self.base if term is None else self.sides[term]
        run = np.arange(first, last, dtype=np.int64)
        if own == self.shape:
            return run
        cuts = math.prod(self.shape[self._axes :]) // self.unit
        *axes, columns = np.unravel_index(run, (*self.shape[: self._axes], cuts))
        made = np.zeros(len(run), np.int64)
        there = np.ones(len(run), bool)
        for axis, size in zip(axes, own[: self._axes], strict=True):
            made = made * size + axis
            there &= axis < size
        return np.where(there, made * cuts + columns, -1)


def padded(sides: Sequence[Shape], base: Shape) -> Boxes:
    """Return the shape that holds every side."""
    shape = tuple(max(sizes) for sizes in zip(*sides, strict=True))
    return Boxes(shape, tuple(sides), base)


def truncated(sides: Sequence[Shape], base: Shape) -> Boxes:
    """Return the shape that all terms have in common."""
    shape = tuple(min(sizes) for sizes in zip(*sides, base, strict=True))
    return Boxes(shape, tuple(sides), base)


@dataclass(frozen=True)
class AlignedRows(Reshape):
    """Rows that belong together, of ``width`` elements each; ``shape`` is that of the result."""

    shape: Shape
    rows: RowMap
    width: int

    @property
    def key(self) -> str:
        """A digest of the rows of every term."""
        digest = hashlib.sha256()
        for places in (*self.rows.sides, self.rows.base):
            digest.update(places.astype("<i8").tobytes())
        return digest.hexdigest()

    @cached_property
    def unit(self) -> int:
        """Number of elements of a row, or a part of it."""
        return _unit(self.width)

    def places(self, term: int | None, first: int, last: int) -> Places:
        """Return the pieces of a run."""
        at = self.rows.base if term is None else self.rows.sides[term]
        rows, columns = np.divmod(np.arange(first, last), self.width // self.unit)
        found = at[rows]
        return np.where(found < 0, -1, found * (self.width // self.unit) + columns)


@dataclass
class ReshapedValues(StoredValues):
    """The terms of one parameter in the shape of the result; their base is always there."""

    reshape: Reshape = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shape = self.reshape.shape

    @property
    def held_bytes(self) -> int:
        """Nothing is kept: the terms have other shapes than the result."""
        return 0

    def plain(
        self,
        start: int,
        stop: int,
        *,
        near: int | None = None,  # noqa: ARG002 - these bytes are no chunk of any term
    ) -> list[NDArray[np.uint8]]:
        """Return the plain bytes of the elements of every term, the base last; 0 for none."""
        first, last = self.reshape.pieces(start, stop)
        made = []
        for term, record in self._numbered:
            size = dtype(record.dtype).nbytes
            offset = (start - first * self.reshape.unit) * size
            pieces = self._gathered(record, self.reshape.places(term, first, last))
            made.append(pieces[offset : offset + (stop - start) * size])
        return made

    def block(
        self, plains: Sequence[NDArray[np.uint8]], first: int, start: int, stop: int
    ) -> Block:
        """Return elements of plain bytes; what a term lacks is filled in."""
        read = super().block(plains, first, start, stop)
        marks = [self._present(term, start, stop) for term, _ in self._numbered]
        if all(each.all() for each in marks):
            return read
        assert read.base is not None, "nothing is reshaped without a base"
        *present, based = marks
        base = read.base.copy()
        _fill_base(base, ~based, read.sides, present)
        sides = (np.where(here, side, base) for side, here in zip(read.sides, present, strict=True))
        return Block(start, tuple(sides), base)

    def _present(self, term: int | None, start: int, stop: int) -> Marks:
        """Say which elements of a run a term has."""
        first, last = self.reshape.pieces(start, stop)
        unit = self.reshape.unit
        here = np.repeat(self.reshape.places(term, first, last) >= 0, unit)
        return here[start - first * unit : stop - first * unit]

    @property
    def _numbered(self) -> list[tuple[int | None, Tensor]]:
        assert self.base is not None, "nothing is reshaped without a base"
        return [*enumerate(self.records), (None, self.base)]

    def _gathered(self, record: Tensor, places: Places) -> NDArray[np.uint8]:
        """Return the pieces at these places of a term."""
        size = self.reshape.unit * dtype(record.dtype).nbytes
        made = np.zeros((len(places), size), np.uint8)
        targets = np.flatnonzero(places >= 0)
        for part in _spans(places[targets], size):
            at, own = targets[part], places[targets[part]]
            low, high = int(own.min()), int(own.max()) + 1
            if (np.diff(own) == 1).all() and (np.diff(at) == 1).all():
                out = made[at[0] : at[0] + len(own)]
                self.store.read_range(record, low * size, out.reshape(-1).data)
                continue
            span = np.empty((high - low, size), np.uint8)
            self.store.read_range(record, low * size, span.reshape(-1).data)
            made[at] = span[own - low]
        return made.reshape(-1)

    def blocks(self, elements: int = 0) -> Iterator[Block]:
        """Yield the whole tensor, run by run."""
        yield from super().blocks(elements or BLOCK_ELEMENTS)


class AlignedValues(ReshapedValues, RowValues):
    """Terms whose rows were aligned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.reshape, AlignedRows), "rows were aligned"
        rows = self.reshape.rows
        self.present = np.stack([places >= 0 for places in rows.sides])
        self.based = rows.base >= 0


def _spans(places: Places, size: int) -> Iterator[Places]:
    """Yield the numbers of the pieces of a size that are read together, all of them once."""
    if not len(places):
        return
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    far = np.diff(ordered) * size > GAP + size
    full = np.diff(ordered * size // SPAN) > 0
    yield from np.split(order, np.flatnonzero(far | full) + 1)


def _fill_base(
    base: Floats,
    missing: Marks,
    sides: Sequence[Floats],
    present: Sequence[Marks],
) -> None:
    """Put in place of what the base lacks what the sides made there."""
    at = np.flatnonzero(missing)
    if not len(at):
        return
    values = [side[at] for side in sides]
    there = np.stack([here[at] for here in present])
    number = base.dtype.type
    shares = np.array([0, *(number(1 / n) for n in range(1, len(sides) + 1))], base.dtype)
    share = shares[there.sum(axis=0)]
    total = np.zeros(len(at), base.dtype)
    for value, here in zip(values, there, strict=True):
        np.add(total, value * share, out=total, where=here)
    first = np.take_along_axis(np.stack(values), there.argmax(axis=0)[None], axis=0)[0]
    agreed = there.any(axis=0)
    for value, here in zip(values, there, strict=True):
        agreed &= (value == first) | ~here
    base[at] = np.where(agreed, first, total)


def reshape_of(
    store: Store, plan: Plan, conflict: Conflict, strategy: Strategy, order: Sequence[int]
) -> Reshape | None:
    """Return what comes before a strategy that takes a conflict; ``order`` is of the sides."""
    if not reshapes(strategy, conflict):
        return None
    leaves = conflict.leaves
    assert leaves is not None
    base = _shape(store, leaves.bases[0])
    sides = {place: _shape(store, id_) for place, id_ in changed(conflict)}
    if isinstance(strategy, UnionRows):
        rows, _ = rows_of(store, plan, conflict)
        found = dict(zip(sides, rows.sides, strict=True))
        rows = RowMap(tuple(found[place] for place in order), rows.base)
        return AlignedRows((rows.count, *base[1:]), rows, math.prod(base[1:]))
    make = padded if strategy.shape == "pad" else truncated
    return make([sides[place] for place in order], base)


def _shape(store: Store, id_: TensorId | Absent) -> Shape:
    assert id_ is not ABSENT, "a strategy was decided on"
    return store.tensor(id_).shape


def terms_of(
    reshape: Reshape | None,
    store: Store,
    name: str,
    sides: tuple[Side, ...],
    base: TensorId | None,
    key_of: tuple[int, str],
    *,
    nonfinite: bool,
) -> StoredValues:
    """Return the terms of one parameter, in one shape."""
    if reshape is None:
        return StoredValues(store, name, sides, base, key_of, nonfinite)
    make = AlignedValues if isinstance(reshape, AlignedRows) else ReshapedValues
    return make(store, name, sides, base, key_of, nonfinite, reshape=reshape)
