"""What an update of a matrix was: rescaled, of low rank, or rows moved; found from the values.

Owns the tests, cheap ones first, and the order between them. Must not store anything, nor know
where the bytes of either side come from. A finding is a guess at the whole tensor; each chunk's
form is proved by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta_store import estimate
from theta_store.arithmetic import Floats, widen
from theta_store.dtypes import DType
from theta_store.predictors import low_rank, rescale, row_map
from theta_store.scratch import Bytes

Read = Callable[[int, int], Bytes]

PLACES, ROWS_PER_PLACE, COLUMNS = 2, 48, 128
BLOCK_BYTES = 1 << 20
# Below this an update costs little anyway, and the tests would cost more.
LEAST_BYTES = 1 << 16
# Elements of a step that are in memory at once, as float32: 64 MiB. The rest is read by blocks.
MOST_HELD = 1 << 24
# A difference that is kept in so small a part of the tensor needs no better guess.
SMALL = 0.25
LEAST_MATCHED = 0.1


@dataclass(frozen=True)
class Matrix:
    """One side: ``rows`` × ``columns`` elements, its bytes read by range."""

    dtype: DType
    rows: int
    columns: int
    read: Read

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.dtype.nbytes

    def bytes_of(self, first: int, last: int) -> Bytes:
        """Return the bytes of some rows."""
        return self.read(first * self.row_bytes, last * self.row_bytes)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield runs of rows of about 1 MiB."""
        step = max(1, BLOCK_BYTES // max(1, self.row_bytes))
        for first in range(0, self.rows, step):
            yield first, min(first + step, self.rows)

    def values(self, first: int, last: int) -> Floats:
        """Return the values of some rows, as a matrix."""
        return widen(self.bytes_of(first, last), self.dtype).reshape(last - first, self.columns)


@dataclass(frozen=True)
class Rescaled:
    """The new matrix is the old one times a vector along an axis."""

    axis: int
    vector: Floats


@dataclass(frozen=True)
class Updated:
    """The new matrix is the old one plus left · right, by a formula of ``low-rank``."""

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    formula: int


@dataclass(frozen=True)
class Moved:
    """Each row of the new matrix is a row of the old one, or -1."""

    rows: NDArray[np.int64]


def discover(old: Matrix, new: Matrix) -> Rescaled | Updated | Moved | None:
    """Return what the step between matrices of one dtype and shape was, if it is plain to see."""
    if new.rows * new.row_bytes < LEAST_BYTES or min(new.rows, new.columns) < 2:
        return None
    sample = _sample(old, new)
    if sample is None:
        return None
    before, after = sample
    cost = estimate.residual(after, before, new.dtype.width)
    if cost.best <= SMALL * len(after):
        return None
    if cost.best >= estimate.WORTH * estimate.alone(after, new.dtype.width):
        return moved(old, new)
    base, values = (_as_block(plain, new) for plain in (before, after))
    found = rescale.discover(base, values, new.dtype)
    if found is not None:
        return _rescaled(old, new, found[0])
    return _updated(old, new, base, values)


def moved(old: Matrix, new: Matrix) -> Moved | None:
    """Return which rows of the old matrix the new one's are; None if too few are the same.

    Where the number of rows changed and no row is the same, each is guessed to have kept its
    number: a vocabulary that grew and was trained on.
    """
    rows = row_map.find_rows(_fingerprints(new), _fingerprints(old))
    matched = np.count_nonzero(rows >= 0)
    if matched < LEAST_MATCHED * len(rows) and (matched or old.rows == new.rows):
        return None
    return Moved(row_map.fill_in(rows, old.rows))


def _fingerprints(side: Matrix) -> row_map.Fingerprints:
    parts = [
        row_map.fingerprints(side.bytes_of(first, last), side.row_bytes)
        for first, last in side.blocks()
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _sample(old: Matrix, new: Matrix) -> tuple[Bytes, Bytes] | None:
    """Return the bytes of small matrices from a few places of both sides.

    None where one place shows that little changed: a whole chunk is decoded for each. A place
    where nothing changed shows nothing of the others.
    """
    count = min(ROWS_PER_PLACE, max(1, new.rows // PLACES))
    places = []
    for start in np.linspace(0, new.rows - count, PLACES).astype(int).tolist():
        before, after = _place(old, start, count), _place(new, start, count)
        cost = estimate.residual(after, before, new.dtype.width)
        if cost.unchanged < 1 and cost.best <= SMALL * len(after):
            return None
        places.append((before, after))
    olds, news = zip(*places, strict=True)
    return np.concatenate(olds), np.concatenate(news)


def _place(side: Matrix, start: int, count: int) -> Bytes:
    width = min(COLUMNS, side.columns) * side.dtype.nbytes
    left = (side.row_bytes - width) // 2 // side.dtype.nbytes * side.dtype.nbytes
    rows = side.bytes_of(start, start + count).reshape(count, -1)
    return rows[:, left : left + width].reshape(-1)


def _as_block(plain: Bytes, side: Matrix) -> Floats:
    return widen(plain, side.dtype).reshape(-1, min(COLUMNS, side.columns))


def _rescaled(old: Matrix, new: Matrix, axis: int) -> Rescaled:
    fit = rescale.Fit(axis, new.dtype)
    for first, last in new.blocks():
        fit.feed(old.values(first, last), new.values(first, last))
    return Rescaled(axis, fit.finish())


def _updated(old: Matrix, new: Matrix, base: Floats, values: Floats) -> Updated | None:
    with np.errstate(all="ignore"):
        step = values.astype(np.float64) - base
    noise = low_rank.noise_level(values, new.dtype)
    rank = low_rank.looks_low_rank(step, noise)
    if rank is None:
        return None
    bits = low_rank.bits_worth(new.dtype)
    factors = _factors(old, new, rank, noise, bits)
    if factors is None:
        return None
    first, last = next(new.blocks())
    formula = low_rank.best_formula(
        old.bytes_of(first, last),
        new.bytes_of(first, last),
        factors[0][first:last],
        factors[1],
        new.dtype,
    )
    return Updated(*factors, formula)


def _factors(
    old: Matrix, new: Matrix, rank: int, noise: float, bits: int
) -> tuple[low_rank.Factor, low_rank.Factor] | None:
    """Return factors of the step; of a large one, some rows tell the right factor for all."""
    chosen = _held(list(new.blocks()), MOST_HELD // new.columns)
    found = low_rank.factorise(_difference(old, new, chosen), rank, noise=noise, bits=bits)
    if found is None or sum(last - first for first, last in chosen) == new.rows:
        return found
    right = found[1]
    left = np.empty((new.rows, len(right)), np.float32)
    for first, last in new.blocks():
        step = _difference(old, new, [(first, last)])
        left[first:last] = low_rank.left_factor(step, right, bits)
    return left, right


def _held(blocks: list[tuple[int, int]], rows: int) -> list[tuple[int, int]]:
    """Return evenly spaced blocks of at most so many rows in all; all of them where they fit."""
    tall = blocks[0][1] - blocks[0][0]
    count = min(len(blocks), max(1, rows // tall))
    places = np.linspace(0, len(blocks) - 1, count).astype(int)
    return [blocks[place] for place in places]


def _difference(old: Matrix, new: Matrix, blocks: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Return the step of some blocks of rows in float32, one below the other."""
    out = np.empty((sum(last - first for first, last in blocks), new.columns), np.float32)
    at = 0
    with np.errstate(all="ignore"):
        for first, last in blocks:
            here = out[at : (at := at + last - first)]
            after, before = new.values(first, last), old.values(first, last)
            np.subtract(after, before, out=here, casting="same_kind")
    return out
