"""How far two tensors are apart.

Owns the measures and their sums over pairs. Must not know where tensors come from. Sums are
float64 per pair, added in order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta.pairs import Numbers, Pair, is_measurable
from theta_store.dtypes import DType


@dataclass(frozen=True)
class Distance:
    """Measures of the step from one tensor to another of the same shape.

    ``norm`` is the Frobenius norm of the difference, ``relative`` that over the norm of the old
    tensor, ``max_abs`` the largest step of an element, ``cosine`` that of the two as vectors. They
    are taken over elements that are finite on both sides; None where the dtype has no numbers,
    ``cosine`` also where a side is zero; no finite number where squares overflow float64.
    ``changed`` is the fraction of elements (of blocks, for quantised types) whose bits differ, of
    values where the dtypes do. ``nan`` and ``inf`` count the new tensor. ``lost`` counts elements
    that are not finite and not the same on both sides; ``equal`` says that all values are, whatever
    their bits.
    """

    norm: float | None
    relative: float | None
    max_abs: float | None
    cosine: float | None
    changed: float
    nan: int
    inf: int
    lost: int
    equal: bool


def distance(pairs: Iterable[Pair]) -> Distance:
    """Measure two tensors, given as all their pairs in order."""
    sums = Sums()
    for pair in pairs:
        sums.add(pair)
    return sums.distance()


@dataclass
class Sums:
    """What the measures are made of; squares are of the elements finite on both sides."""

    step: float = 0.0
    left: float = 0.0
    right: float = 0.0
    across: float = 0.0
    max_abs: float = 0.0
    count: int = 0
    changed: int = 0
    unequal: int = 0
    nan: int = 0
    inf: int = 0
    lost: int = 0
    numeric: bool = True

    def add(self, pair: Pair) -> None:
        """Take the next pair."""
        self.numeric = is_measurable(pair.old_row) and is_measurable(pair.new_row)
        if not self.numeric:
            self._add_blocks(pair)
            return
        self.count += pair.count
        if pair.same:
            self._add_same(pair.left)
            return
        left, right, step = pair.left, pair.right, pair.step
        squares = _squares(step, left, right)
        if not np.isfinite(squares).all():
            keep = np.isfinite(left) & np.isfinite(right)
            self._count(right)
            self.lost += int((~keep & _unequal(left, right)).sum())
            left, right, step = left[keep], right[keep], step[keep]
            squares = _squares(step, left, right)
        self._add(squares)
        self.max_abs = max(self.max_abs, float(np.abs(step).max(initial=0.0)))
        # A step of whole numbers is exact where the numbers themselves had to be rounded.
        unequal = int(_unequal(pair.left, pair.right).sum())
        self.unequal += max(unequal, int(np.count_nonzero(step)))
        self.changed += (
            changed_elements(pair.old, pair.new, pair.old_row)
            if pair.old_row.name == pair.new_row.name
            else unequal
        )

    def _add_same(self, values: Numbers) -> None:
        square = _square(values)
        if not math.isfinite(square):
            self._count(values)
            square = _square(values[np.isfinite(values)])
        self._add(np.array([0.0, square, square, square]))

    def _add_blocks(self, pair: Pair) -> None:
        row = pair.old_row
        self.count += len(pair.old) // row.nbytes * _parts(row)
        if not pair.same:
            changed = changed_elements(pair.old, pair.new, row)
            self.changed += changed
            self.unequal += changed

    def _add(self, squares: NDArray[np.float64]) -> None:
        self.step += float(squares[0])
        self.left += float(squares[1])
        self.right += float(squares[2])
        self.across += float(squares[3])

    def _count(self, right: Numbers) -> None:
        self.nan += int(np.isnan(right).sum())
        self.inf += int(np.isinf(right).sum())

    def distance(self) -> Distance:
        """Return the measures of all pairs so far."""
        changed = self.changed / max(self.count, 1)
        if not self.numeric:
            return Distance(None, None, None, None, changed, 0, 0, 0, not self.unequal)
        norm, old, new = math.sqrt(self.step), math.sqrt(self.left), math.sqrt(self.right)
        return Distance(
            norm=norm,
            relative=norm / old if old else (math.inf if norm else 0.0),
            max_abs=self.max_abs,
            cosine=_cosine(self.across, old, new),
            changed=changed,
            nan=self.nan,
            inf=self.inf,
            lost=self.lost,
            equal=not self.unequal,
        )


def _cosine(across: float, old: float, new: float) -> float | None:
    if not old or not new:
        return None
    return max(-1.0, min(1.0, across / old / new))


def _square(values: Numbers) -> float:
    return _inner(values, values)


def _squares(step: Numbers, left: Numbers, right: Numbers) -> NDArray[np.float64]:
    return np.array([_square(step), _square(left), _square(right), _inner(left, right)])


def _inner(left: Numbers, right: Numbers) -> float:
    """Return the real part of the inner product, on this thread.

    BLAS would share the work between threads that wait for each other on a busy machine.
    """
    with np.errstate(all="ignore"):
        if left.dtype.kind == "c":
            return _inner(left.real, right.real) + _inner(left.imag, right.imag)
        return float(np.einsum("i,i->", left, right))


def _unequal(left: Numbers, right: Numbers) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        found: NDArray[np.bool_] = (left != right) & ~(np.isnan(left) & np.isnan(right))
    return found


def _parts(row: DType) -> int:
    """Return how many parts of a block are told apart: elements of half a byte, else the block."""
    return 2 if row.name in {"F4", "I4", "U4"} else 1


def changed_elements(old: bytes | bytearray, new: bytes | bytearray, row: DType) -> int:
    """Return how many elements have other bits; of blocks, except where two share a byte."""
    left = np.frombuffer(old, np.uint8)
    right = np.frombuffer(new, np.uint8)
    if _parts(row) == 2:
        other = left ^ right
        return int(np.count_nonzero(other & 0x0F) + np.count_nonzero(other & 0xF0))
    if row.nbytes in {1, 2, 4, 8}:
        word = f"<u{row.nbytes}"
        return int(np.count_nonzero(left.view(word) != right.view(word)))
    rows = left.reshape(-1, row.nbytes) != right.reshape(-1, row.nbytes)
    return int(rows.any(axis=1).sum())
