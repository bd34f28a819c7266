"""The map from new rows to base rows: fingerprints tell rows apart, edits keep their places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store.predictors.row_map import (
    BLOCK_BYTES,
    SEGMENT_BYTES,
    fill_in,
    find_rows,
    fingerprints,
)

WIDTHS = [1, 2, 3, 4, 7, 8, 12, 16, 62, 64, 65, 96, 100, 1536, 2**16, 2**17 + 3]


def _table(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, width), np.uint8)


@pytest.mark.parametrize("width", WIDTHS)
def test_equal_rows_have_equal_fingerprints_and_others_differ(width: int) -> None:
    table = np.unique(_table(300 if width < 2000 else 5, width), axis=0)
    found = fingerprints(table.tobytes(), width)
    assert len(np.unique(found)) == len(table)
    assert np.array_equal(fingerprints(table[::-1].tobytes(), width), found[::-1])


@pytest.mark.parametrize("width", WIDTHS)
def test_every_byte_and_every_sign_counts(width: int) -> None:
    row = _table(1, width)[0]
    places = np.unique(np.linspace(0, width - 1, 200).astype(int))
    changed = np.repeat(row[None], len(places) + 1, axis=0)
    changed[np.arange(len(places)), places] ^= 0x80
    # Two flipped signs at once must not cancel.
    changed[-1, [0, -1]] ^= 0x80
    known = {int(fingerprints(row, width)[0])} | set(fingerprints(changed, width).tolist())
    assert len(known) == len(places) + (2 if width > 1 else 1)


def test_chunks_give_the_fingerprints_of_the_whole() -> None:
    for width in (12, 768, SEGMENT_BYTES + 8):
        table = _table(BLOCK_BYTES // width * 3 + 5, width)
        parts = [fingerprints(part, width) for part in np.array_split(table, 4)]
        assert np.array_equal(np.concatenate(parts), fingerprints(table, width))


def _found(new: list[int], base: list[int]) -> list[int]:
    return find_rows(np.array(new, np.uint64), np.array(base, np.uint64)).tolist()


@given(
    base=st.lists(st.integers(0, 12), max_size=30), new=st.lists(st.integers(0, 14), max_size=30)
)
def test_a_row_is_found_wherever_there_is_an_equal_one(base: list[int], new: list[int]) -> None:
    for wanted, found in zip(new, _found(new, base), strict=True):
        assert base[found] == wanted if found >= 0 else wanted not in base


@settings(max_examples=50)
@given(seed=st.integers(0, 999), zeros=st.integers(0, 60), shift=st.integers(0, 5))
def test_equal_rows_continue_the_rows_around_them(seed: int, zeros: int, shift: int) -> None:
    random = np.random.default_rng(seed)
    base = np.arange(1, 101, dtype=np.uint64)
    base[random.choice(99, zeros, replace=False)] = 0
    kept = np.arange(shift, 100)
    assert find_rows(base[kept], base).tolist()[zeros:] == kept.tolist()[zeros:]


def test_among_equal_rows() -> None:
    # An even stride goes through them, the place counts where nothing is around, else the first.
    assert _found([1, 0, 3, 0, 5], [1, 0, 0, 0, 3, 0, 0, 0, 5]) == [0, 2, 4, 6, 8]
    assert _found([0, 0, 0], [0, 0, 0]) == [0, 1, 2]
    assert _found([7] * 5, [7, 1, 7, 2, 7]) == [0] * 5
    assert _found([9, 9], [8, 8, 9]) == [2, 2]
    assert _found([1], []) == [-1]
    assert _found([], [1]) == []


@pytest.mark.parametrize(
    ("rows", "base", "wanted"),
    [
        ([0, 1, -1, 3], 4, [0, 1, 2, 3]),
        ([-1, -1, 2, 3], 4, [0, 1, 2, 3]),
        ([0, 1, -1, -1], 4, [0, 1, 2, 3]),
        ([0, 1, -1, -1], 2, [0, 1, -1, -1]),
        ([0, 1, -1, 2, 3], 4, [0, 1, -1, 2, 3]),
        ([0, 2, -1, 6, 8], 9, [0, 2, 4, 6, 8]),
        ([5, 6, -1, 0, 1], 8, [5, 6, 7, 0, 1]),
        ([5, 6, -1, 1, 2], 7, [5, 6, 0, 1, 2]),
        ([-1, -1, -1], 2, [0, 1, -1]),
        ([], 3, []),
        ([-1], 0, [-1]),
    ],
)
def test_an_edited_row_stands_where_it_stood(rows: list[int], base: int, wanted: list[int]) -> None:
    given_rows = np.array(rows, np.int64)
    assert fill_in(given_rows, base).tolist() == wanted
    assert given_rows.tolist() == rows


@given(rows=st.lists(st.integers(-1, 20), max_size=30), base=st.integers(21, 30))
def test_filling_in_keeps_what_is_known_and_stays_in_the_base(rows: list[int], base: int) -> None:
    filled = fill_in(np.array(rows, np.int64), base).tolist()
    used = {row for row in rows if row >= 0}
    for before, after in zip(rows, filled, strict=True):
        assert after == before if before >= 0 else -1 <= after < base and after not in used
