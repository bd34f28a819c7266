"""From hints to derivations: what a tensor may follow from, found once per tensor.

Owns the order in which derivations are tried and the tests that a hint must pass. Must not trust a
hint, nor store anything but the small tensors that a derivation needs (factors, vectors).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from theta_store.arithmetic import is_computable
from theta_store.array_source import ArraySource
from theta_store.chunking import CHUNK_BYTES
from theta_store.chunks import Chunks, Read
from theta_store.db import Reader
from theta_store.derivations import Cast, Derivation, LowRank, Rescale, Rows, Same, WeightedSum
from theta_store.discovery import Matrix, Moved, Rescaled, Updated, discover, moved
from theta_store.dtypes import dtype
from theta_store.errors import IntegrityError
from theta_store.forms import Need
from theta_store.hints import Adapter, Base, Hint, Sum
from theta_store.ids import TensorId
from theta_store.objects import find_record
from theta_store.predictors import low_rank
from theta_store.records import Tensor
from theta_store.scratch import Bytes, Scratch
from theta_store.sketch import DTYPES as SKETCHED
from theta_store.sketch import has_sketch, nearest, read_sketch
from theta_store.sketches import find_sketch, relatives, sketch_key

ROW_BYTES = 16


class Source(Protocol):
    """Plain bytes of a tensor, little-endian, C order, read by position."""

    @property
    def dtype(self) -> str:
        """Name of the dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""


@dataclass(frozen=True)
class Target:
    """What is about to be stored: dtype and shape; the bytes are read by position."""

    dtype: str
    shape: tuple[int, ...]
    read_into: Callable[[int, memoryview], None]

    def read(self, start: int, stop: int) -> Bytes:
        """Return the bytes ``start`` to ``stop``."""
        out = np.empty(stop - start, np.uint8)
        self.read_into(start, out.data)
        return out


@dataclass(frozen=True)
class Lineage:
    """Finds derivations.

    ``find_tensor`` returns a stored tensor's record, None if it is gone; ``keep`` stores a float
    array so that it can be read at once, None where nothing may be stored; ``read`` opens the
    index of sketches, None where no relatives are looked for.
    """

    chunks: Chunks
    scratch: Callable[[], Scratch]
    find_tensor: Callable[[TensorId], Tensor | None]
    keep: Callable[[ArraySource], TensorId] | None = None
    read: Read | None = None

    def of_source(self, source: Source, hints: Sequence[Hint]) -> tuple[Derivation, ...]:
        """Return what to try for every chunk of a tensor that is about to be stored."""
        target = Target(source.dtype, tuple(source.shape), source.read_into)
        return self.derivations(target, hints) or self.derivations(target, self._relatives(target))

    def of_stored(
        self, id_: TensorId, target: Target, hints: Sequence[Hint]
    ) -> tuple[Derivation, ...]:
        """Return what to try for a tensor that is stored already, from what was there before it."""
        found = self.derivations(target, hints)
        return found or self.derivations(target, self._relatives(target, id_))

    def bases(
        self, reader: Reader, target: "Source", hints: Sequence[Hint]
    ) -> Sequence[Need] | None:
        """Return the base of a small tensor of one chunk, if there is one, and nothing else.

        None: the hints say more than that, and `of_source` has to be asked.
        """
        if not hints:
            return ()
        for hint in hints:
            if not isinstance(hint, Base):
                # The sum of a merge takes next to nothing; a difference would.
                return None
            try:
                base = find_record(reader, hint.tensor)
            except IntegrityError:
                # A base that is damaged must not keep anybody from storing what he has.
                continue
            if isinstance(base, Tensor) and _alike(base, target) and len(base.chunks) == 1:
                size = dtype(base.dtype).size_of(base.shape)
                return (Need("chunk", base.chunks[0], 0, size),)
        return None

    def derivations(self, target: Target, hints: Sequence[Hint]) -> tuple[Derivation, ...]:
        """Return what to try for every chunk of a tensor."""
        # Where the caller knows what was computed, nothing has to be discovered.
        told = any(isinstance(hint, Sum | Adapter) for hint in hints)
        found: list[Derivation] = []
        for hint in hints:
            try:
                found += self._of(target, hint, told=told)
            except IntegrityError:
                # A base that is damaged or gone must not keep anybody from storing what he has.
                continue
        return tuple(found)

    def _relatives(self, target: Target, id_: TensorId | None = None) -> list[Hint]:
        """Return the stored tensors of the nearest sketches, one of each dtype."""
        if self.read is None or not has_sketch(target.dtype, target.shape):
            return []
        kinds = sorted(SKETCHED, key=lambda kind: kind != target.dtype)
        with self.read() as reader:
            found = [relatives(reader, kind, target.shape, before=id_) for kind in kinds]
            stored = b"" if id_ is None else sketch_key(target.dtype, target.shape, id_)
            sketch = find_sketch(reader, stored) if stored else None
        if not any(group.ids for group in found):
            return []
        if sketch is None:
            sketch = read_sketch(target.dtype, target.shape, target.read)
        near = [(group, nearest(sketch, group.sketches)) for group in found]
        return [Base(group.ids[place]) for group, place in near if place is not None]

    def _of(self, target: Target, hint: Hint, *, told: bool) -> list[Derivation]:
        match hint:
            case Base(id_, searched):
                told = told or not searched
                base = self.find_tensor(id_)
                if base is None or (told and not _alike(base, target)):
                    return []
                return [Same.of(base)] if told else self._from_base(target, id_, base)
            case Sum(ids, coefficients):
                parts = [self.find_tensor(id_) for id_ in ids]
                whole = tuple(part for part in parts if part is not None and _alike(part, target))
                return [WeightedSum.of(whole, coefficients)] if len(whole) == len(ids) else []
            case Adapter():
                return self._from_adapter(target, hint)

    def _from_base(self, target: Target, id_: TensorId, base: Tensor) -> list[Derivation]:
        if _alike(base, target):
            return [Same.of(base), *self._discovered(target, id_, base)]
        both = is_computable(dtype(base.dtype)) and is_computable(dtype(target.dtype))
        if base.shape == target.shape and both:
            return [Cast(id_, base, dtype(target.dtype))]
        if _same_rows(base, target):
            found = moved(self._matrix(base), _matrix_of(target))
            return [] if found is None else [_rows(id_, target, found)]
        return []

    def _discovered(self, target: Target, id_: TensorId, base: Tensor) -> list[Derivation]:
        if len(target.shape) < 2 or not is_computable(dtype(target.dtype)):
            return []
        new = _matrix_of(target)
        match discover(self._matrix(base), new):
            case Moved() as found if _has_whole_rows(new):
                return [_rows(id_, target, found)]
            case Rescaled(axis, vector) if self.keep is not None:
                kept = self.keep(ArraySource.of(vector))
                return [Rescale(Same.of(base), kept, axis, new.dtype, new.columns)]
            case Updated(left, right, formula) if self.keep is not None:
                ids = self.keep(ArraySource.of(left)), self.keep(ArraySource.of(right))
                return [
                    LowRank(Same.of(base), *ids, left.shape[1], formula, new.dtype, new.columns)
                ]
        return []

    def _from_adapter(self, target: Target, hint: Adapter) -> list[Derivation]:
        base, left, right = map(self.find_tensor, (hint.base, hint.left, hint.right))
        if base is None or left is None or right is None or not _alike(base, target):
            return []
        new = _matrix_of(target)
        shapes = left.shape[:1] == (new.rows,) and right.shape[1:] == (new.columns,)
        if not shapes or left.shape[1] != right.shape[0] or {left.dtype, right.dtype} != {"F32"}:
            return []
        same = Same.of(base)
        ids = (hint.left, hint.right)
        return [
            LowRank(same, *ids, left.shape[1], formula, new.dtype, new.columns)
            for formula in low_rank.FORMULAS
        ]

    def _matrix(self, base: Tensor) -> Matrix:
        def read(start: int, stop: int) -> Bytes:
            return self.chunks.span(base, start, stop, self.scratch())

        return _as_matrix(base.dtype, base.shape, read)


def _alike(base: Tensor, target: "Target | Source") -> bool:
    return (base.dtype, base.shape) == (target.dtype, tuple(target.shape))


def _matrix_of(target: Target) -> Matrix:
    return _as_matrix(target.dtype, target.shape, target.read)


def _as_matrix(kind: str, shape: tuple[int, ...], read: Callable[[int, int], Bytes]) -> Matrix:
    rows = shape[0] if shape else 1
    return Matrix(dtype(kind), rows, math.prod(shape[1:]), read)


def _same_rows(base: Tensor, target: Target) -> bool:
    """Say whether both are rows of the same width, whole ones in every chunk."""
    if base.dtype != target.dtype or len(base.shape) < 2 or base.shape[1:] != target.shape[1:]:
        return False
    return _has_whole_rows(_matrix_of(target)) and 0 not in base.shape


def _has_whole_rows(side: Matrix) -> bool:
    return side.dtype.block == 1 and ROW_BYTES <= side.row_bytes <= CHUNK_BYTES


def _rows(id_: TensorId, target: Target, found: Moved) -> Rows:
    return Rows(id_, _matrix_of(target).row_bytes, found.rows)
