"""The predictor ``low-rank``: the base plus a product of two thin factors, as merged adapters are.

Owns the formulas. Each row of the left and each column of the right factor is rounded to a grid,
``bits`` below its largest element, so that every partial sum of the product is a whole number of
grid steps below 2^53: exact in float64, in whatever order a machine adds. Formula 1: base plus
product in float64, one narrowing. Formula 2: the product narrowed to the dtype, base plus that in
float32 (float64 for F64), narrowed: what a trainer does that rounds the product first. Where the
result is NaN it is the base's bits. Must not know the store, nor how factors are found.

A tensor is seen as a matrix of ``columns`` columns; factors are float32: left rows × rank, right
rank × columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta_store.arithmetic import Floats, Plain, narrow, restore_nans, widen
from theta_store.dtypes import DType
from theta_store.predictors.factors import (
    bits_worth,
    factorise,
    left_factor,
    looks_low_rank,
    noise_level,
)
from theta_store.predictors.head import (
    LARGEST,
    AnyHead,
    check,
    check_formula,
    computable,
    whole_elements,
)
from theta_store.predictors.matrix import (
    BLOCK_ELEMENTS,
    rectangles,
    touched_columns,
    touched_rows,
)
from theta_store.scratch import Bytes

SUM_FIRST, PRODUCT_FIRST = 1, 2
FORMULAS = (SUM_FIRST, PRODUCT_FIRST)
MOST_RANK = 512
EXACT_BITS = 53

Factor = NDArray[np.float32]


class Head(AnyHead, frozen=True):
    """Formula, dtype, rank, grid, columns, and the matrix's element that the chunk begins with."""

    formula: int
    dtype: str
    rank: int
    bits: int
    columns: int
    start: int

    def __post_init__(self) -> None:
        check_formula(self.formula, FORMULAS)
        computable(self.dtype)
        check(1 <= self.rank <= MOST_RANK, f"rank {self.rank}")
        check(1 <= self.bits <= bits_for(self.rank), f"{self.bits} bits at rank {self.rank}")
        check(0 < self.columns <= LARGEST and 0 <= self.start <= LARGEST, "a matrix too large")


def bits_for(rank: int) -> int:
    """Return the finest grid: rank × 2^bits × 2^bits is at most 2^53."""
    return (EXACT_BITS - (rank - 1).bit_length()) // 2


def rows_range(head: Head, count: int) -> tuple[int, int]:
    """Return which rows [first, last) of the left factor a chunk of ``count`` elements needs."""
    return touched_rows(head.start, count, head.columns)


def predict(
    base: memoryview | Bytes,
    left_rows: Factor,
    right: Factor,
    dtype: DType,
    formula: int,
    columns: int,
    *,
    start: int = 0,
    bits: int | None = None,
    exact: bool = False,
) -> Bytes:
    """Return the base's elements, the first of which is element ``start`` of the matrix, predicted.

    ``left_rows`` are the rows that these elements are in. ``exact`` multiplies in int64 instead:
    the same bits, slowly, for when a hash says that a processor was wrong.
    """
    source = whole_elements(base, dtype)
    count, rank = len(source) // dtype.nbytes, left_rows.shape[1]
    check(1 <= rank <= MOST_RANK and right.shape == (rank, columns), "factors do not fit")
    grid = bits_for(rank) if bits is None else bits
    check(1 <= grid <= bits_for(rank), f"{grid} bits at rank {rank}")
    first, last = touched_rows(start, count, columns)
    check(len(left_rows) == last - first, "the left factor has other rows")
    first, last = touched_columns(start, count, columns)
    thin = _on_grid(left_rows, 1, grid, exact=exact)
    wide = _on_grid(right[:, first:last], 0, grid, exact=exact)
    out = np.empty(len(source), np.uint8)
    for part in rectangles(start, count, columns, _block_elements(rank)):
        rows, across = slice(part.top, part.bottom), slice(part.left - first, part.right - first)
        product = (thin.numbers[rows] @ wide.numbers[:, across]).astype(np.float64, copy=False)
        if exact:
            product *= thin.steps[rows] * wide.steps[:, across]
        block = slice(part.start * dtype.nbytes, part.stop * dtype.nbytes)
        out[block] = _added(widen(source[block], dtype), product.ravel(), dtype, formula)
    return restore_nans(out, source, dtype)


def best_formula(
    base_block: memoryview | Bytes,
    new_block: memoryview | Bytes,
    left_rows: Factor,
    right: Factor,
    dtype: DType,
) -> int:
    """Return the formula that gives more elements of a block of whole rows exactly."""
    kind, columns = f"<u{dtype.nbytes}", right.shape[1]
    wanted = np.frombuffer(new_block, kind)
    exact = {
        formula: int(
            np.count_nonzero(
                predict(base_block, left_rows, right, dtype, formula, columns).view(kind) == wanted
            )
        )
        for formula in FORMULAS
    }
    return max(FORMULAS, key=lambda formula: exact[formula])


def _block_elements(rank: int) -> int:
    """Return how many elements to predict at once.

    OpenBLAS starts threads above 2^18 multiplications: on a busy machine they cost more than the
    product, and theta's own threads work on other chunks.
    """
    return min(BLOCK_ELEMENTS, max(1 << 12, (1 << 18) // rank))


@dataclass(frozen=True, slots=True)
class _Gridded:
    """A factor on its grid: its numbers, and the steps that they are still to be multiplied by."""

    numbers: NDArray[np.float64] | NDArray[np.int64]
    steps: NDArray[np.float64]


def _on_grid(factor: Factor, axis: int, bits: int, *, exact: bool) -> _Gridded:
    """Round each line along an axis to whole steps, at most 2^bits of them.

    Steps are powers of two. Multiplied in before the product they change no bit of it; in int64
    they must wait.
    """
    largest = np.abs(factor).max(axis=axis, keepdims=True, initial=0)
    check(bool(np.isfinite(largest).all()), "a factor is not finite")
    exponent = np.frexp(largest)[1] - bits
    steps = np.ldexp(1.0, exponent)
    numbers = factor.astype(np.float64)
    numbers *= np.ldexp(1.0, -exponent)
    np.rint(numbers, out=numbers)
    return _Gridded(numbers.astype(np.int64), steps) if exact else _Gridded(numbers * steps, steps)


def _added(base: Floats, product: NDArray[np.float64], dtype: DType, formula: int) -> Plain:
    with np.errstate(all="ignore"):
        if formula == PRODUCT_FIRST:
            rounded = widen(narrow(product, dtype), dtype)
            return narrow(base + rounded, dtype)
        product += base
        return narrow(product, dtype)


__all__ = [
    "FORMULAS",
    "MOST_RANK",
    "PRODUCT_FIRST",
    "SUM_FIRST",
    "Head",
    "best_formula",
    "bits_for",
    "bits_worth",
    "factorise",
    "left_factor",
    "looks_low_rank",
    "noise_level",
    "predict",
    "rows_range",
]
