"""The difference of two matrices has a low rank, as an adapter leaves behind that was merged.

Owns the search: the singular values of a small sample first, then, where those have a gap, a
randomised range finder with power iterations (Halko, Martinsson and Tropp 2011, algorithm 4.4) on
the whole difference. Must not know where tensors come from.

A rank is exact when what is left over is no more than the rounding of the new tensor.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta.pairs import Numbers, Pair
from theta.recognition.base import Finding
from theta.recognition.rounding import spacing
from theta_store.dtypes import DType

MOST_RANK = 64
SAMPLE = 192
# Above so many elements the whole difference is looked at only when asked for.
MOST_ELEMENTS = 1 << 22
HINT_GAP = 1.5
# In a sample, noise stands out more against the rank than in the whole.
SAMPLE_GAP = 2.0
CLEAR_GAP = 5.0
EXPLAINED = 0.9
LEAST_SIDE = 16
OVERSAMPLING = 8
# What the products here may be off by themselves; matters for float64 alone.
WORK_ROUNDINGS = 32
POWER_ITERATIONS = 1

Matrix = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]


@dataclass
class Sample:
    """Collects the difference at some rows and columns while pairs go by."""

    shape: tuple[int, int]
    row: DType
    flat: NDArray[np.int64] = field(init=False)
    values: Matrix = field(init=False)
    sides: tuple[int, int] = field(init=False)
    rounding: float = 0.0

    def __post_init__(self) -> None:
        chooser = np.random.default_rng(0)
        rows, columns = (
            np.sort(chooser.choice(side, min(side, SAMPLE), replace=False)) for side in self.shape
        )
        self.sides = len(rows), len(columns)
        self.flat = (rows[:, None] * self.shape[1] + columns[None, :]).ravel()
        self.values = np.zeros(len(self.flat))

    def see(self, pair: Pair) -> None:
        """Take the next pair."""
        low, high = np.searchsorted(self.flat, (pair.start, pair.start + pair.count))
        at = self.flat[low:high] - pair.start
        self.rounding += _rounding(pair.left[at], pair.right[at], self.row)
        if not pair.same:
            self.values[low:high] = np.real(pair.step[at])

    def guess(self) -> int:
        """Return the rank that the sample hints at; 0 for none."""
        squares = self._squares()
        return _last_gap(squares, HINT_GAP, _most_rank(self._matrix))

    def finding(self) -> Finding | None:
        """Return what the sample alone says; never exact."""
        squares = self._squares()
        most = _most_rank(self._matrix)
        rank = _last_gap(squares, CLEAR_GAP, most)
        if rank and squares[:rank].sum() >= EXPLAINED * squares.sum():
            return _about(rank)
        rank = _last_gap(squares, SAMPLE_GAP, most)
        return _about(rank) if rank and squares[rank:].sum() <= self.rounding else None

    @property
    def _matrix(self) -> Matrix:
        return self.values.reshape(self.sides)

    def _squares(self) -> Matrix:
        """Return the squares of the singular values, the largest first."""
        matrix = self._matrix
        if not np.isfinite(matrix).all():
            return np.zeros(1)
        small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        squares: Matrix = np.maximum(np.linalg.eigvalsh(small @ small.T)[::-1], 0.0)
        return squares


def _most_rank(matrix: Floats) -> int:
    """Return the largest rank worth a name: half of the sides, without rows and columns of zeros.

    A few changed rows also make a low rank; that is no adapter.
    """
    used = (int(np.count_nonzero(matrix.any(axis=axis))) for axis in (0, 1))
    return min(MOST_RANK, min(used) // 2)


def _last_gap(squares: Matrix, least: float, most: int) -> int:
    """Return after which singular value the last gap of at least ``least`` comes; 0 for none.

    ``squares`` are those of the singular values, good to float64 of the largest.
    """
    floor = squares[0] * len(squares) * np.finfo(np.float64).eps
    for rank in range(min(most, len(squares) - 1), 0, -1):
        if squares[rank - 1] > least**2 * max(squares[rank], floor):
            return rank
    return 0


def _about(rank: int) -> Finding:
    return Finding("rank", f"rank ~{rank}", rank, exact=False)


def confirm(
    pairs: Iterable[Pair], shape: tuple[int, int], row: DType, guess: int
) -> Finding | None:
    """Look at the whole difference, held in memory, for a rank near the guess of a sample."""
    step, rounding = _collected(pairs, shape, row)
    if not np.isfinite(step).all():
        return None
    size = min(max(2 * guess, guess + 4) + OVERSAMPLING, MOST_RANK + OVERSAMPLING, *shape)
    basis = _range(step, size)
    left, squares = _spectrum(basis.T @ step)
    # The last values of a range that is cut off are too small: a gap there means nothing.
    most = min(_most_rank(step), size if size == min(shape) else size - 4)
    rank = _last_gap(squares, CLEAR_GAP, most)
    if not rank:
        return None
    rest, whole = _rest(step, basis @ left[:, :rank])
    rounding += (WORK_ROUNDINGS * float(np.finfo(step.dtype).eps)) ** 2 * whole
    if rest <= rounding:
        return Finding("rank", f"rank {rank}", rank)
    clear = rest <= (1 - EXPLAINED) * whole and min(shape) >= max(LEAST_SIDE, 4 * rank)
    return _about(rank) if clear else None


def _collected(pairs: Iterable[Pair], shape: tuple[int, int], row: DType) -> tuple[Floats, float]:
    """Return the difference, and the sum of squares that rounding may have left in it."""
    step: Floats = np.zeros(math.prod(shape), np.float64 if row.nbytes > 2 else np.float32)
    rounding = 0.0
    for pair in pairs:
        rounding += _rounding(pair.left, pair.right, row)
        if not pair.same:
            with np.errstate(all="ignore"):
                step[pair.start : pair.start + pair.count] = np.real(pair.step)
    return step.reshape(shape), rounding


def _rounding(old: Numbers, new: Numbers, row: DType) -> float:
    """Return the sum of squares of the distances between neighbouring numbers."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(old), np.abs(new))
        return float((spacing(size, row) ** 2).sum())


def _range(step: Floats, size: int) -> Floats:
    """Return an orthonormal basis of about the space that the columns span; rows × size."""
    chooser = np.random.default_rng(1)
    start = chooser.standard_normal((step.shape[1], size)).astype(step.dtype)
    basis = np.linalg.qr(step @ start)[0]
    for _ in range(POWER_ITERATIONS):
        across = np.linalg.qr(step.T @ basis)[0]
        basis = np.linalg.qr(step @ across)[0]
    return basis


def _spectrum(small: Floats) -> tuple[Floats, Matrix]:
    """Return left singular vectors of a wide matrix and the squares of its singular values."""
    wide = small.astype(np.float64)
    squares, left = np.linalg.eigh(wide @ wide.T)
    return left[:, ::-1].astype(small.dtype), np.maximum(squares[::-1], 0.0)


def _rest(step: Floats, inside: Floats) -> tuple[float, float]:
    """Return the sum of squares that a basis leaves, and that of the whole; some rows at a time."""
    across = inside.T @ step
    rest = whole = 0.0
    rows = max(1, (1 << 20) // step.shape[1])
    for start in range(0, len(step), rows):
        part = step[start : start + rows]
        left = part - inside[start : start + rows] @ across
        rest += float(np.vdot(left, left))
        whole += float(np.vdot(part, part))
    return rest, whole
