"""The predictor ``rows``: each row of a chunk is a row of the base, given as runs.

Owns the runs, their bytes and the gathering. Must not know the store, how the map was found
(row_map), nor what a row holds: rows are bytes of one length.

A run is (start, stride, count): the base rows start, start + stride, …. A stride of 0 repeats one
row; a start of -1 is rows that nothing is known of, guessed to be zero bytes. Runs are an int64
array of shape (runs, 3).
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from theta_store.predictors.head import LARGEST, AnyHead, check
from theta_store.predictors.row_map import Rows, fill_in, find_rows, fingerprints
from theta_store.scratch import Bytes

Runs: TypeAlias = NDArray[np.int64]

# Above this many runs one gather is faster than a copy per run.
MANY_RUNS = 32
# Wider strides come by chance, and would widen the strides of the whole chunk.
FURTHEST = 127
_BREAK = 1 << 60


class Ints(AnyHead, frozen=True):
    """Integers as ``low`` plus little-endian words of ``width`` bytes; width 0: all are ``low``."""

    low: int
    width: int
    data: bytes


class Head(AnyHead, frozen=True):
    """The runs that make up the rows of one chunk."""

    row_bytes: int
    runs: int
    starts: Ints
    strides: Ints
    counts: Ints

    def __post_init__(self) -> None:
        check(0 < self.row_bytes <= LARGEST, f"rows of {self.row_bytes} bytes")
        check(0 <= self.runs <= LARGEST, f"{self.runs} runs")


def runs_of(rows: Rows) -> Runs:
    """Return rows as runs, in order.

    Rows of stride 0 or 1 make a run from two on, of another small stride from three on; what is
    left are runs of one row, whose stride is 1: a permutation then costs its row numbers alone.
    """
    if not len(rows):
        return np.empty((0, 3), np.int64)
    steps = np.diff(rows)
    steps[(rows[1:] < 0) != (rows[:-1] < 0)] = _BREAK
    edges = np.flatnonzero(steps[1:] != steps[:-1]) + 1
    first = np.concatenate([np.zeros(min(1, len(steps)), np.int64), edges])
    length = np.diff(first, append=len(steps))
    kind = steps[first]
    regular = ((length > 1) & (np.abs(kind) <= FURTHEST)) | (kind == 0) | (kind == 1)
    continues = np.repeat(regular, length)
    # Neighbouring stretches share a row: it belongs to the first of them.
    continues[first[1:][regular[1:] & regular[:-1]]] = False
    starts = np.flatnonzero(np.concatenate([[True], ~continues]))
    counts = np.diff(starts, append=len(rows))
    strides = np.where(counts > 1, np.append(steps, 1)[starts], 1)
    strides[rows[starts] < 0] = 0
    return np.stack([rows[starts], strides, counts], axis=1)


def needed_range(runs: Runs, row_bytes: int) -> tuple[int, int]:
    """Return the bytes [start, stop) of the base that hold every row of the runs."""
    known = runs[runs[:, 0] >= 0]
    if not len(known):
        return 0, 0
    ends = known[:, 0] + known[:, 1] * (known[:, 2] - 1)
    low, high = min(known[:, 0].min(), ends.min()), max(known[:, 0].max(), ends.max())
    return int(low) * row_bytes, (int(high) + 1) * row_bytes


def gather(runs: Runs, base: memoryview | Bytes, row_bytes: int, out: Bytes) -> Bytes:
    """Fill ``out`` with the rows of the runs, and return it.

    ``base`` holds the bytes of `needed_range`, no less: its first row is the lowest one needed.
    """
    low, high = needed_range(runs, row_bytes)
    source = np.frombuffer(base, np.uint8)
    check(len(source) == high - low, "the base has other rows than a prediction needs")
    check(int(runs[:, 2].sum()) * row_bytes == len(out), "the runs do not fill the chunk")
    shifted = runs - np.array([low // row_bytes, 0, 0])
    into, from_ = out.reshape(-1, row_bytes), source.reshape(-1, row_bytes)
    if len(runs) > MANY_RUNS:
        _take(runs[:, 0] >= 0, shifted, from_, into)
    else:
        _copy(runs[:, 0] >= 0, shifted, from_, into)
    return out


def _copy(known: NDArray[np.bool_], runs: Runs, base: Bytes, out: Bytes) -> None:
    at = 0
    for is_known, (start, stride, count) in zip(known.tolist(), runs.tolist(), strict=True):
        if not is_known:
            out[at : at + count] = 0
        elif stride == 1:
            out[at : at + count] = base[start : start + count]
        else:
            out[at : at + count] = base[start + stride * np.arange(count)]
        at += count


def _take(known: NDArray[np.bool_], runs: Runs, base: Bytes, out: Bytes) -> None:
    starts, strides, counts = runs.T
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(starts, counts) + np.repeat(strides, counts) * (np.arange(len(out)) - first)
    if len(base):
        # Every known row is inside: "clip" only avoids a copy, and moves the unknown ones.
        np.take(base, rows, axis=0, out=out, mode="clip")
    out[~np.repeat(known, counts)] = 0


def head_of(runs: Runs, row_bytes: int) -> Head:
    """Return the head of a chunk that is these runs."""
    return Head(row_bytes, len(runs), *(_packed(runs[:, field]) for field in range(3)))


def runs_in(head: Head, rows: int) -> Runs:
    """Return the runs of a head of a chunk of ``rows`` rows; others are an `IntegrityError`."""
    check(head.runs <= rows, f"{head.runs} runs of {rows} rows")
    fields = (head.starts, head.strides, head.counts)
    runs = np.stack([_unpacked(field, head.runs) for field in fields], axis=1)
    starts, strides, counts = runs.T
    check(bool((np.abs(runs) <= LARGEST).all()), "a row that no tensor has")
    check(bool(((counts > 0) & (counts <= rows)).all()), "a run of no rows")
    check(int(counts.sum()) == rows, "runs of too many or too few rows")
    # As real numbers first: the products of hostile ones do not fit into 64 bits.
    check(bool((np.abs(strides * counts.astype(float)) <= LARGEST).all()), "a run is too long")
    ends = starts + strides * (counts - 1)
    inside = ((starts >= 0) & (ends >= 0)) | ((starts == -1) & (strides == 0))
    check(bool(inside.all()), "a run leaves the base")
    return runs


def _packed(values: NDArray[np.int64]) -> Ints:
    if not len(values):
        return Ints(0, 0, b"")
    low = int(values.min())
    width = -(-int(values.max() - low).bit_length() // 8)
    words = (values - low).astype("<u8").view(np.uint8).reshape(-1, 8)
    return Ints(low, width, words[:, :width].tobytes())


def _unpacked(ints: Ints, count: int) -> NDArray[np.int64]:
    check(abs(ints.low) <= LARGEST and 0 <= ints.width <= 7, "integers of a wrong width")
    check(len(ints.data) == ints.width * count, "as many integers as runs are needed")
    words = np.zeros((count, 8), np.uint8)
    words[:, : ints.width] = np.frombuffer(ints.data, np.uint8).reshape(count, ints.width)
    return words.view("<i8").reshape(count) + ints.low


__all__ = [
    "MANY_RUNS",
    "Head",
    "Ints",
    "Rows",
    "Runs",
    "fill_in",
    "find_rows",
    "fingerprints",
    "gather",
    "head_of",
    "needed_range",
    "runs_in",
    "runs_of",
]
