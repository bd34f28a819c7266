"""Which row of a base each row of a tensor is: found by fingerprints.

Owns the fingerprints and the map. Must not know the store, runs, nor what a row holds. Nothing
here is on disk: the map may become better at any time.
"""

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from theta_store.scratch import Bytes

Rows: TypeAlias = NDArray[np.int64]
Fingerprints: TypeAlias = NDArray[np.uint64]

BLOCK_BYTES = 1 << 18
SEGMENT_BYTES = 1 << 16
NARROW_BYTES = 64


def fingerprints(plain: bytes | memoryview | Bytes, row_bytes: int) -> Fingerprints:
    """Return one 64-bit number per row: equal for equal rows, else different but by accident.

    ``plain`` holds whole rows. Each word is folded, so that a flipped sign reaches the low half,
    and multiplied by a constant of its place; the products are added modulo 2^64.
    """
    rows = np.frombuffer(plain, np.uint8).reshape(-1, row_bytes)
    total = np.zeros(len(rows), np.uint64)
    add = _narrow_rows if row_bytes < NARROW_BYTES else _wide_rows
    for first in range(0, row_bytes, SEGMENT_BYTES):
        part = rows[:, first : first + SEGMENT_BYTES]
        step = max(1, BLOCK_BYTES // part.shape[1])
        for at in range(0, len(rows), step):
            total[at : at + step] += add(part[at : at + step], first)
    return total


def _wide_rows(part: Bytes, first: int) -> Fingerprints:
    words = -(-part.shape[1] // 8)
    if part.shape[1] % 8 or not part.flags.c_contiguous:
        padded = np.zeros((len(part), words * 8), np.uint8)
        padded[:, : part.shape[1]] = part
        part = padded
    folded = _folded(part.view(np.uint64))
    total: Fingerprints = np.einsum("ij,j->i", folded, _weights(first, words))
    return total


def _narrow_rows(part: Bytes, first: int) -> Fingerprints:
    width = math.gcd(part.shape[1], 8)
    words, weights = part.view(f"<u{width}"), _weights(first, part.shape[1] // width)
    total = np.zeros(len(part), np.uint64)
    for place, weight in enumerate(weights):
        total += _folded(words[:, place].astype(np.uint64)) * weight
    return total


def _folded(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    folded = words >> np.uint64(32)
    folded ^= words
    return folded


@lru_cache(maxsize=32)
def _weights(first: int, count: int) -> NDArray[np.uint64]:
    """Return random odd constants of the places from a byte on: splitmix64 of their number."""
    mixed = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed |= np.uint64(1)
    mixed.flags.writeable = False
    return mixed


def find_rows(new_fingerprints: Fingerprints, base_fingerprints: Fingerprints) -> Rows:
    """Return an equal base row for every new row, -1 where there is none.

    Where several base rows are equal, the one that continues the rows around it is taken, else the
    row of the same number, else the first.
    """
    rows, count = _first_equal(new_fingerprints, base_fingerprints)
    unsure = np.flatnonzero(count > 1)
    wanted = new_fingerprints[unsure]
    even, forward, backward = _continued(unsure, np.flatnonzero(count == 1), rows)
    for guess in (unsure, backward, forward, even):
        inside = (guess >= 0) & (guess < len(base_fingerprints))
        equal = inside & (base_fingerprints[np.where(inside, guess, 0)] == wanted)
        if guess is unsure:
            equal = _throughout(unsure, equal)
        rows[unsure[equal]] = guess[equal]
    return rows


def fill_in(rows: Rows, base_rows: int) -> Rows:
    """Return the map with a base row for rows that equal none: an edited row stands where it stood.

    It is the row that continues its neighbours, if it is in the base and no other new row equals
    it: rows that were inserted or appended get none. Where no row is known at all, every row is
    guessed to have kept its number.
    """
    known, unknown = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
    filled = rows.copy()
    free = np.ones(base_rows, bool)
    free[rows[known]] = False
    guesses = reversed(_continued(unknown, known, rows)) if len(known) else (unknown,)
    for guess in guesses:
        inside = (guess >= 0) & (guess < base_rows)
        places, guessed = unknown[inside], guess[inside]
        filled[places[free[guessed]]] = guessed[free[guessed]]
    return filled


def _first_equal(new: Fingerprints, base: Fingerprints) -> tuple[Rows, Rows]:
    """Return the first equal base row of every new one, or -1, and how many there are."""
    if not len(base):
        return np.full(len(new), -1, np.int64), np.zeros(len(new), np.int64)
    order = np.argsort(base)
    in_order = base[order]
    groups = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
    lowest, counts = np.minimum.reduceat(order, groups), np.diff(groups, append=len(base))
    kinds = in_order[groups]
    at = np.minimum(np.searchsorted(kinds, new), len(kinds) - 1)
    found = kinds[at] == new
    return np.where(found, lowest[at], -1), np.where(found, counts[at], 0)


def _throughout(places: Rows, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where something holds for all of a stretch of neighbouring places.

    Else a long repetition of one row would be torn wherever it equals the row of its number.
    """
    if not len(places):
        return holds
    first = np.flatnonzero(np.append(True, np.diff(places) > 1))
    whole = np.logical_and.reduceat(holds, first)
    return np.repeat(whole, np.diff(first, append=len(places)))


def _continued(places: Rows, known: Rows, rows: Rows) -> tuple[Rows, Rows, Rows]:
    """Return three guesses at base rows, best first; negative where there is none.

    From both neighbours that are known, by an even stride; from the one before; from the one after.
    """
    nothing = np.full(len(places), -1, np.int64)
    if not len(known):
        return nothing, nothing, nothing
    after = np.searchsorted(known, places)
    before = known[np.maximum(after - 1, 0)]
    behind = known[np.minimum(after, len(known) - 1)]
    forward = np.where(after > 0, rows[before] + places - before, -1)
    backward = np.where(after < len(known), rows[behind] + places - behind, -1)
    distance = np.maximum(behind - before, 1)
    even = np.where(
        (after > 0) & (after < len(known)) & _is_even(after, known, rows),
        rows[before] + (rows[behind] - rows[before]) * (places - before) // distance,
        -1,
    )
    return even, forward, backward


def _is_even(after: Rows, known: Rows, rows: Rows) -> NDArray[np.bool_]:
    """Return where a stride of 1, or of the steps around it, leads over a gap between known rows.

    ``after`` numbers the known row that ends each gap.
    """
    distance, rise = np.diff(known), np.diff(rows[known])
    if not len(distance):
        return np.zeros(len(after), bool)
    # Step i leads to known row i + 1; there is none before the first nor after the last.
    gap = np.clip(after - 1, 0, len(distance) - 1)
    around = (np.maximum(gap - 1, 0), np.minimum(gap + 1, len(distance) - 1))
    alike = [(rise[i] * distance[gap] == rise[gap] * distance[i]) & (i != gap) for i in around]
    whole = rise[gap] % distance[gap] == 0
    even: NDArray[np.bool_] = whole & ((rise[gap] == distance[gap]) | alike[0] | alike[1])
    return even
