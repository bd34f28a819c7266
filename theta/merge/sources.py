"""The terms of one parameter as they lie in the store, and the merged tensor computed from them.

Owns the reading of sides run by run, the keys of their random numbers, and the preparation of a
strategy, once. Must not know plans, files, nor where results are kept.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from theta.merge.evidence import Knowledge
from theta.merge.held import Held
from theta.strategies import Strategy
from theta.strategies.base import Kernel
from theta.strategies.values import Block, Evidence, Floats, Values, philox_key, philox_uniform
from theta_store.arithmetic import has_nan, narrow, widen
from theta_store.dtypes import DType, dtype
from theta_store.errors import UsageError
from theta_store.ids import CommitId, TensorId
from theta_store.records import Tensor
from theta_store.store import Store, ranges_of

if TYPE_CHECKING:
    from theta_store.store import DerivedSource

# Elements that a kernel works on at once. With fewer, threads mostly wait for each other: every
# step of numpy hands the interpreter on. With more, they fall out of the processor's caches.
CACHED_ELEMENTS = 1 << 17


# Tensors of fewer elements are prepared by whoever computes their first chunk.
SMALL = 1 << 21


class NonFinite(Exception):
    """A term holds a NaN or an infinity."""


@dataclass(frozen=True)
class Side:
    """One side of a parameter: its tensor, and the commit that it comes from."""

    tensor: TensorId
    commit: CommitId


@dataclass
class StoredValues(Values):
    """The terms of one parameter, read from the store; sides in canonical order.

    ``key_of`` (seed and strategy) makes the keys of the random numbers. Values are float32, or
    float64 where any term is F64. Unless ``nonfinite``, a NaN or infinity raises `NonFinite`.
    """

    store: Store
    name: str
    sides: tuple[Side, ...]
    base_id: TensorId | None
    key_of: tuple[int, str]
    nonfinite: bool = False
    known: Knowledge | None = None

    def __post_init__(self) -> None:
        self.records = tuple(self.store.tensor(side.tensor) for side in self.sides)
        self.base = None if self.base_id is None else self.store.tensor(self.base_id)
        self.shape = self.records[0].shape
        self.count = len(self.records)
        self.has_base = self.base is not None
        self._held: list[NDArray[np.uint8]] | None = None
        self._is_finite = self.nonfinite
        seed, strategy = self.key_of
        self._keys = [philox_key(seed, strategy, self.name, side.commit) for side in self.sides]
        terms = [*self.records, *([] if self.base is None else [self.base])]
        self.wide: type[np.floating] = (
            np.float64 if any(term.dtype == "F64" for term in terms) else np.float32
        )

    def read(self, start: int, stop: int) -> Block:
        """Return the elements from ``start`` to ``stop``."""
        return self.block(self.plain(start, stop), start, start, stop)

    def plain(self, start: int, stop: int, *, near: int | None = None) -> list[NDArray[np.uint8]]:
        """Return the plain bytes of the elements of every term, the base last.

        ``near``: the number of the term that they are stored on next.
        """
        terms = self._terms
        sizes = [dtype(term.dtype).nbytes for term in terms]
        if self._held is not None:
            kept = zip(self._held, sizes, strict=True)
            plains = [whole[start * size : stop * size] for whole, size in kept]
            if near is not None:
                self.store.remember(terms[near], start * sizes[near], plains[near].data)
            return plains
        plains = [np.empty((stop - start) * size, np.uint8) for size in sizes]
        if len({(term.dtype, term.shape) for term in terms}) == 1:
            # Sides follow from the base: read together, it is decoded once.
            outs = [plain.data for plain in plains]
            self.store.read_ranges(terms, start * sizes[0], outs, near=near)
        else:
            for term, size, plain in zip(terms, sizes, plains, strict=True):
                self.store.read_range(term, start * size, plain.data)
        return plains

    @property
    def held_bytes(self) -> int:
        """Bytes that `hold` keeps; 0 where nothing can be kept."""
        return sum(term.nbytes for term in self._terms)

    def hold(self) -> None:
        """Keep the plain bytes of every term in memory, so that each is decoded once."""
        held = self.plain(0, self.elements)
        for whole in held:
            whole.flags.writeable = False
        self._held = held

    def let_go(self) -> None:
        """Keep nothing."""
        self._held = None

    def block(
        self, plains: Sequence[NDArray[np.uint8]], first: int, start: int, stop: int
    ) -> Block:
        """Return elements of plain bytes that begin with element ``first``."""
        found = [
            self._floats(plain, dtype(term.dtype), start - first, stop - first)
            for term, plain in zip(self._terms, plains, strict=True)
        ]
        return Block(start, tuple(found[: self.count]), *found[self.count :])

    @property
    def _terms(self) -> list[Tensor]:
        return [*self.records, *([] if self.base is None else [self.base])]

    def _floats(self, plain: NDArray[np.uint8], row: DType, start: int, stop: int) -> Floats:
        values = widen(plain[start * row.nbytes : stop * row.nbytes], row)
        # Kernels compute in place: what is held must not be lent.
        values = values.astype(self.wide, copy=not values.flags.writeable)
        if not self._is_finite and not np.isfinite(values).all():
            raise NonFinite
        return values

    @property
    def is_cheap(self) -> bool:
        """Whether all terms are in memory."""
        return self._held is not None

    def blocks(self, elements: int = 0) -> Iterator[Block]:
        """Yield the whole tensor in parts of the chunks it is stored in, so each is read once."""
        if elements:
            yield from super().blocks(elements)
            return
        size = dtype(self.records[0].dtype).nbytes
        for left, right in ranges_of(self.records[0]):
            first, last = left // size, right // size
            plains = self.plain(first, last)
            for start in range(first, last, CACHED_ELEMENTS):
                stop = min(start + CACHED_ELEMENTS, last)
                yield self.block(plains, first, start, stop)
        # All were looked at, and ids do not change: nothing has to be looked at again.
        self._is_finite = True

    def uniform(self, side: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return a side's random numbers."""
        return philox_uniform(self._keys[side], start, stop)

    def statistic(self, kind: str) -> Sequence[Evidence]:
        """Return a statistic of each side; a `UsageError` names the side that has none."""
        if self.known is None:
            raise UsageError(f"{self.name}: no side has {kind}", hint="theta merge --help")
        return self.known.of(kind)


@dataclass
class MergedSource:
    """A merged tensor, computed range by range as the store asks for its chunks.

    ``finite`` turns False when a term holds what is not; what is read from then on means nothing.
    ``total`` is the same tensor where the strategy is no more than a sum: whoever stores that has
    computed its form as well. ``near`` is the number of the term that the result is stored on.
    """

    values: StoredValues
    strategy: Strategy
    dtype: str
    finite: bool = True
    total: "DerivedSource | None" = None
    held: Held = field(default_factory=lambda: Held(0))
    near: int | None = None
    _kernel: Kernel | None = None
    _holding: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, the same on all sides."""
        return self.values.shape

    @property
    def ahead(self) -> int:
        """How many like this may be prepared at once; one that holds whole matrices alone.

        Of small tensors many are in work at once, so that nobody waits for one.
        """
        if self.values.elements < SMALL:
            return 0
        return {"element": 0, "tensor": 64, "matrix": 1}[self.strategy.needs.reach]

    def prepare(self) -> Kernel:
        """Return the kernel of the strategy; made once, whoever asks first."""
        with self._lock:
            if self._kernel is None:
                self._hold()
                self._kernel = self._prepared()
            return self._kernel

    def _hold(self) -> None:
        size = self.values.held_bytes
        if self.strategy.needs.reach == "tensor" and size and self.held.take(size):
            self._holding = size
            self.values.hold()

    def _prepared(self) -> Kernel:
        try:
            with np.errstate(all="ignore"):
                return self.strategy.prepare(self.values)
        except np.linalg.LinAlgError as error:
            raise UsageError(
                f"{self.strategy.id} fails on {self.values.name}: {error}; nothing was written"
            ) from None

    def release(self) -> None:
        """Forget what was prepared."""
        with self._lock:
            self._kernel = None
            self.values.let_go()
            self.held.give(self._holding)
            self._holding = 0

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with merged bytes from ``start``."""
        row = dtype(self.dtype)
        if self.total is not None and self.finite and self.total.read_finite(start, out):
            return
        try:
            if not self.finite:
                raise NonFinite
            self._fill(start // row.nbytes, row, out)
        except NonFinite:
            self.finite = False
            out[:] = bytes(len(out))

    def _fill(self, first: int, row: DType, out: memoryview) -> None:
        kernel, size = self.prepare(), row.nbytes
        stop = first + len(out) // size
        plains = self.values.plain(first, stop, near=self.near)
        for start in range(first, stop, CACHED_ELEMENTS):
            end = min(start + CACHED_ELEMENTS, stop)
            with np.errstate(all="ignore"):
                merged = _narrowed(kernel(self.values.block(plains, first, start, end)), row)
            out[(start - first) * size : (end - first) * size] = merged.data


def _narrowed(values: Floats, row: DType) -> NDArray[np.uint8]:
    """Return plain bytes; a NaN gets the same bits on every machine."""
    plain = narrow(values, row)
    if has_nan(values):
        # Not what was too large for the dtype, and became NaN with a sign: where a tensor is cut
        # must not show.
        codes = plain.view(f"<u{row.nbytes}")
        codes[np.isnan(values)] = narrow(np.full(1, np.nan, values.dtype), row).view(codes.dtype)
    return plain
