"""The predictor ``rescale``: the base times a vector along an axis of a matrix, or times a number.

Owns formula 1: the base in float32, or float64 for F64, one product with the vector's element,
rounded, one narrowing; where that is NaN, the base's bits. Owns the discovery of the vector too.
Must not know the store.

A tensor is seen as a matrix: axis 0, all others together. Axis 0 has a factor per row, axis 1 one
per column, axis -1 is one factor for all. A vector is float32, or float64 for F64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import Codes, Floats, half_step, narrow, restore_nans, widen
from theta_store.dtypes import DType
from theta_store.predictors.head import (
    LARGEST,
    AnyHead,
    check,
    check_formula,
    computable,
    whole_elements,
)
from theta_store.predictors.matrix import Rectangle, rectangles, touched_rows
from theta_store.scratch import Bytes

Wide: TypeAlias = NDArray[np.float64]

FORMULA = 1
ONE, BY_ROW, BY_COLUMN = -1, 0, 1
EXPLAINED = 0.9
FEWEST = 8
CORNER = (16, 64)
WIDER = 4
SAMPLE_ELEMENTS = 1 << 18
SAMPLE_OF_LINE = 128
SAMPLE_OF_ALL = 1 << 14


class Head(AnyHead, frozen=True):
    """The dtype, the axis, the matrix's columns, and which element of it the chunk begins with."""

    formula: int
    dtype: str
    axis: int
    columns: int
    start: int

    def __post_init__(self) -> None:
        check_formula(self.formula, (FORMULA,))
        computable(self.dtype)
        check(self.axis in {ONE, BY_ROW, BY_COLUMN}, f"axis {self.axis}")
        check(0 < self.columns <= LARGEST and 0 <= self.start <= LARGEST, "a matrix too large")


def vector_range(head: Head, count: int) -> tuple[int, int]:
    """Return which elements [first, last) of the vector a chunk of ``count`` elements needs."""
    if head.axis == ONE:
        return 0, 1
    if head.axis == BY_COLUMN:
        return 0, head.columns
    return touched_rows(head.start, count, head.columns)


def predict(
    base: memoryview | Bytes,
    vector: Floats,
    axis: int,
    dtype: DType,
    columns: int,
    *,
    start: int = 0,
) -> Bytes:
    """Return the base's elements, the first of which is element ``start`` of the matrix, rescaled.

    ``vector`` is the part that `vector_range` says.
    """
    source = whole_elements(base, dtype)
    width = dtype.nbytes
    out = np.empty(len(source), np.uint8)
    with np.errstate(all="ignore"):
        for part in rectangles(start, len(out) // width, columns):
            block = slice(part.start * width, part.stop * width)
            values = widen(source[block], dtype).reshape(part.shape)
            product: Floats = np.multiply(values, _factors(vector, part, axis), dtype=values.dtype)
            out[block] = narrow(product.ravel(), dtype)
    return restore_nans(out, source, dtype)


def _factors(vector: Floats, part: Rectangle, axis: int) -> Floats:
    ends = {ONE: (0, 1), BY_ROW: (part.top, part.bottom), BY_COLUMN: (part.left, part.right)}
    wanted = slice(*ends[axis])
    check(len(vector) >= wanted.stop, "the vector is too short")
    return vector[wanted, None] if axis == BY_ROW else vector[wanted]


def discover(base: Floats, new: Floats, dtype: DType) -> tuple[int, Floats] | None:
    """Return the axis and the sample's vector if a sample is rescaled along an axis, else None.

    Both are the same block of rows of two matrices, some dozen of each at least; what counts is
    the share of the *changed* elements that the formula gives exactly. Most samples are turned down
    by a corner of them.
    """
    best, found = EXPLAINED, None
    if not (_codes(base, dtype) != _codes(new, dtype)).any():
        return None
    corner = (slice(CORNER[0]), slice(CORNER[1]))
    with np.errstate(all="ignore"):
        low, high = _intervals(base[corner], new[corner], dtype)
    for axis in (ONE, BY_ROW, BY_COLUMN):
        # A factor that few elements share explains them by chance, and costs as much.
        if base.size == 0 or _lines(base, axis).shape[1] < FEWEST:
            continue
        if _near(_lines(low, axis), _lines(high, axis)) < EXPLAINED / 4:
            continue
        if _explained(base[corner], new[corner], axis, dtype)[0] < EXPLAINED / 2:
            continue
        share, vector = _explained(base, new, axis, dtype)
        if share > best:
            best, found = share, (axis, vector)
    return found


def _near(low: Wide, high: Wide) -> float:
    """Return the share of intervals that are near the middle one of their line, generously.

    One that says nothing is near. What this turns down would not be explained either.
    """
    with np.errstate(all="ignore"):
        middle, half = (low + high) / 2, (high - low) / 2
        silent = ~np.isfinite(half)
        middle[silent] = np.nan
        # NaN sorts to the end.
        ranks = np.maximum(np.count_nonzero(~silent, axis=1) // 2, 0)[:, None]
        typical = np.take_along_axis(np.sort(middle, axis=1), ranks, axis=1)
        widths = np.take_along_axis(np.sort(half, axis=1), ranks, axis=1)
        far = np.abs(middle - typical) > WIDER * (half + widths)
    return 1 - float(np.count_nonzero(far)) / far.size


def _explained(base: Floats, new: Floats, axis: int, dtype: DType) -> tuple[float, Floats]:
    """Return which share of the changed elements a vector gives exactly (1: none are), and it."""
    fit = Fit(axis, dtype)
    fit.feed(base, new)
    vector, wanted = fit.finish(), _codes(new, dtype)
    changed = _codes(base, dtype) != wanted
    exact = _product(base, vector, axis, dtype) == wanted
    return float(exact[changed].mean()) if changed.any() else 1.0, vector


@dataclass
class Fit:
    """The vector that gives the most elements of a matrix exactly, from blocks of whole rows.

    Each pair of elements says between which numbers its factor lies; the intervals of a line are
    intersected, those of outliers left out. What is left are a few neighbouring numbers: the one
    that fits a sample best is taken.
    """

    axis: int
    dtype: DType
    _agreed: tuple[Wide, Wide] | None = field(init=False, default=None)
    _low: Wide = field(init=False)
    _high: Wide = field(init=False)
    _sample: tuple[Floats, Floats] = field(init=False)
    _done: list[NDArray[Any]] = field(init=False, default_factory=list)

    def feed(self, base: Floats, new: Floats) -> None:
        """Take the next rows of both matrices, as float32 or, for F64, float64."""
        with np.errstate(all="ignore"):
            low, high = (_lines(ends, self.axis) for ends in _intervals(base, new, self.dtype))
        if self._agreed is None:
            self._agreed = self._low, self._high = _agreed(low, high)
            self._sample = self._sampled(base), self._sampled(new)
        first, last = self._agreed
        outside = (high < first[:, None]) | (low > last[:, None])
        low[outside], high[outside] = -np.inf, np.inf
        self._low = np.maximum(self._low, low.max(axis=1, initial=-np.inf))
        self._high = np.minimum(self._high, high.min(axis=1, initial=np.inf))
        if self.axis == BY_ROW:
            # Each row is complete: the next block has other factors.
            self._done.append(self._best())
            self._agreed = None

    def finish(self) -> Floats:
        """Return the vector; a factor that nothing was said about is 1."""
        if self.axis == BY_ROW:
            return np.concatenate(self._done)
        return self._best()

    def _sampled(self, block: Floats) -> Floats:
        if self.axis == BY_ROW:
            return block
        return block[: max(FEWEST, SAMPLE_ELEMENTS // max(1, block.shape[1]))].copy()

    def _best(self) -> Floats:
        assert self._agreed is not None
        base, new = self._sample
        wanted = _codes(new, self.dtype)
        middle = _middle(self._low, self._high, base.dtype)
        best: NDArray[Any] = middle.copy()
        most = np.full(len(best), -1)
        for vector in _candidates(middle, _middle(*self._agreed, base.dtype)):
            exact = _product(base, vector, self.axis, self.dtype) == wanted
            count = _lines(exact, self.axis).sum(axis=1)
            np.copyto(best, vector, where=count > most)
            most = np.maximum(count, most)
        return best


def _middle(low: Wide, high: Wide, dtype: np.dtype[Any]) -> Floats:
    """Return numbers between others: 1 where it may be, the middle elsewhere."""
    with np.errstate(all="ignore"):
        middle: Floats = ((low + high) / 2).astype(dtype)
    middle[((low <= 1) & (high >= 1)) | ~np.isfinite(middle)] = 1
    return middle


def _candidates(vector: Floats, other: Floats) -> Iterator[Floats]:
    """Yield a vector, its next ones up and down to two steps away, and another vector."""
    yield vector
    for end in (np.inf, -np.inf):
        once = np.nextafter(vector, vector.dtype.type(end))
        yield once
        yield np.nextafter(once, vector.dtype.type(end))
    yield other


def _lines(block: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return a block with one row per factor; it may be a view."""
    if axis == ONE:
        return block.reshape(1, -1)
    return block if axis == BY_ROW else block.T


def _codes(values: Floats, dtype: DType) -> Codes:
    flat: NDArray[Any] = np.ascontiguousarray(values).reshape(-1)
    codes: Codes = narrow(flat, dtype).view(f"<u{dtype.nbytes}")
    return codes.reshape(values.shape)


def _product(base: Floats, vector: Floats, axis: int, dtype: DType) -> Codes:
    with np.errstate(all="ignore"):
        factors = vector[:, None] if axis == BY_ROW else vector
        product: NDArray[Any] = np.multiply(base, factors, dtype=base.dtype)
        return _codes(product, dtype)


def _intervals(base: Floats, new: Floats, dtype: DType) -> tuple[Wide, Wide]:
    """Return between which factors each element's lies; endless where it says nothing."""
    wide, half = base.astype(np.float64), half_step(new, dtype)
    one, other = (new - half) / wide, (new + half) / wide
    silent = ~np.isfinite(one) | ~np.isfinite(other)
    low, high = np.minimum(one, other), np.maximum(one, other)
    low[silent], high[silent] = -np.inf, np.inf
    return low, high


def _agreed(low: Wide, high: Wide) -> tuple[Wide, Wide]:
    """Return in each line where all of a sample of its intervals overlap, else where most do."""
    count = max(SAMPLE_OF_LINE, SAMPLE_OF_ALL // max(1, len(low)))
    picked = np.unique(np.linspace(0, max(0, low.shape[1] - 1), count).astype(np.intp))
    low, high = low[:, picked], high[:, picked]
    first, last = low.max(axis=1), high.min(axis=1)
    torn = np.flatnonzero(first > last)
    if len(torn):
        first[torn], last[torn] = _deepest(low[torn], high[torn])
    return first, last


def _deepest(low: Wide, high: Wide) -> tuple[Wide, Wide]:
    ends = np.concatenate([low, high], axis=1)
    order = np.argsort(ends, axis=1, kind="stable")
    depth = np.cumsum(np.where(order < low.shape[1], 1, -1), axis=1)
    deepest = np.argmax(depth, axis=1)
    ends = np.take_along_axis(ends, order, axis=1)
    lines = np.arange(len(ends))
    return ends[lines, deepest], ends[lines, deepest + 1]
