"""``rows``: runs say the same as the rows they stand for, and gather them."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from theta_store.errors import IntegrityError
from theta_store.predictors import rows
from theta_store.predictors.head import decode_head, encode_head

GOLDEN = Path(__file__).parents[2] / "golden" / "predictors" / "rows.json"

pieces = st.one_of(
    st.lists(st.integers(-1, 40), max_size=8),
    st.builds(
        lambda start, stride, count: list(range(start, start + stride * count, stride)),
        st.integers(100, 400),
        st.sampled_from([1, 1, 2, 7, -1, -3, 200]),
        st.integers(0, 9),
    ),
    st.builds(lambda row, count: [row] * count, st.integers(-1, 40), st.integers(0, 9)),
)
maps = st.lists(pieces, max_size=8).map(lambda found: [max(row, -1) for p in found for row in p])


def _expanded(runs: rows.Runs) -> list[int]:
    return [
        start + stride * i if start >= 0 else -1
        for start, stride, count in runs.tolist()
        for i in range(count)
    ]


@given(wanted=maps)
@example(wanted=[])
@example(wanted=[-1, 0, 1, 2])
@example(wanted=[0, 1, 2, 4, 6, 8, 8, 8])
@example(wanted=[3, -1, 5])
@example(wanted=[-1, -1, -1, 7, 7])
def test_runs_are_the_rows(wanted: list[int]) -> None:
    runs = rows.runs_of(np.array(wanted, np.int64))
    assert _expanded(runs) == wanted
    assert all(stride == 0 for start, stride, _ in runs.tolist() if start < 0)


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        (list(range(9)), [(0, 1, 9)]),
        (list(range(0, 90, 3)), [(0, 3, 30)]),
        ([5] * 7, [(5, 0, 7)]),
        ([0, 1, 2, 7, 8, 9], [(0, 1, 3), (7, 1, 3)]),
        ([0, 1, 2, -1, -1, 5, 6], [(0, 1, 3), (-1, 0, 2), (5, 1, 2)]),
        ([9, 8, 7, 6], [(9, -1, 4)]),
        ([4, 1, 9, 0], [(4, 1, 1), (1, 1, 1), (9, 1, 1), (0, 1, 1)]),
    ],
)
def test_runs_are_few(wanted: list[int], runs: list[tuple[int, int, int]]) -> None:
    assert [tuple(run) for run in rows.runs_of(np.array(wanted)).tolist()] == runs


@settings(deadline=None)
@given(wanted=maps, row_bytes=st.sampled_from([1, 2, 3, 8, 11]), repeat=st.sampled_from([1, 9]))
def test_a_chunk_is_gathered_from_what_it_needs(
    wanted: list[int], row_bytes: int, repeat: int
) -> None:
    wanted = wanted * repeat
    base = np.random.default_rng(0).integers(0, 256, (2500, row_bytes), np.uint8)
    head = decode_head(
        rows.Head, encode_head(rows.head_of(rows.runs_of(np.array(wanted, np.int64)), row_bytes))
    )
    runs = rows.runs_in(head, len(wanted))
    start, stop = rows.needed_range(runs, row_bytes)
    known = [row for row in wanted if row >= 0]
    assert (start, stop) == (
        (min(known) * row_bytes, (max(known) + 1) * row_bytes) if known else (0, 0)
    )
    out = np.full(len(wanted) * row_bytes, 0xEE, np.uint8)
    made = rows.gather(runs, base.reshape(-1)[start:stop], row_bytes, out)
    zero = bytes(row_bytes)
    assert made.tobytes() == b"".join(base[r].tobytes() if r >= 0 else zero for r in wanted)


def test_a_permutation_costs_its_row_numbers() -> None:
    wanted = np.random.default_rng(1).permutation(30_000)[:1365]
    head = rows.head_of(rows.runs_of(wanted), 768)
    assert len(encode_head(head)) <= 1365 * 3.2


def _head(
    runs: int, starts: rows.Ints, strides: rows.Ints, counts: rows.Ints, row_bytes: int = 4
) -> rows.Head:
    return rows.Head(row_bytes, runs, starts, strides, counts)


def _same(number: int) -> rows.Ints:
    return rows.Ints(number, 0, b"")


@pytest.mark.parametrize(
    "head",
    [
        _head(1 << 40, _same(0), _same(1), _same(1)),
        _head(1, _same(0), _same(1), _same(9)),
        _head(1, _same(0), _same(1), _same(11)),
        _head(2, _same(0), _same(1), rows.Ints(-5, 1, b"\0\x14")),
        _head(1, _same(-2), _same(0), _same(10)),
        _head(1, _same(-1), _same(1), _same(10)),
        _head(1, _same(3), _same(-1), _same(10)),
        _head(1, _same(1 << 47), _same(1 << 46), _same(10)),
        _head(1, _same(1 << 60), _same(1), _same(10)),
        _head(1, rows.Ints(0, 8, bytes(8)), _same(1), _same(10)),
        _head(1, rows.Ints(0, 2, bytes(3)), _same(1), _same(10)),
        _head(0, _same(0), _same(0), _same(0)),
    ],
)
def test_hostile_runs_are_refused(head: rows.Head) -> None:
    with pytest.raises(IntegrityError):
        rows.runs_in(head, 10)


def test_a_base_of_another_length_is_damage() -> None:
    runs, out = rows.runs_of(np.arange(5, 10)), np.empty(20, np.uint8)
    assert rows.needed_range(runs, 4) == (20, 40)
    for size in (0, 16, 24):
        with pytest.raises(IntegrityError):
            rows.gather(runs, np.zeros(size, np.uint8), 4, out)
    with pytest.raises(IntegrityError):
        rows.gather(runs, np.zeros(20, np.uint8), 4, out[:16])


def test_a_large_map_is_quick() -> None:
    wanted = np.random.default_rng(0).permutation(250_000)
    start = time.process_time()
    runs = rows.runs_of(wanted)
    rows.runs_in(rows.head_of(runs, 8), len(wanted))
    assert time.process_time() - start < 2


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_golden_rows_never_change(case: dict[str, str]) -> None:
    head = decode_head(rows.Head, bytes.fromhex(case["head"]))
    assert encode_head(head).hex() == case["head"]
    out = np.empty(len(case["out"]) // 2, np.uint8)
    runs = rows.runs_in(head, len(out) // head.row_bytes)
    base = np.frombuffer(bytes.fromhex(case["base"]), np.uint8)
    start, stop = rows.needed_range(runs, head.row_bytes)
    assert rows.gather(runs, base[start:stop], head.row_bytes, out).tobytes().hex() == case["out"]
