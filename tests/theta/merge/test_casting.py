"""Sides of different dtypes: which one the result gets, and what counts as a cast."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.theta.merge.stored import get, put
from theta.merge.casting import CastSource, can_cast, is_cast, widest
from theta_store.arithmetic import cast, widen
from theta_store.dtypes import dtype
from theta_store.store import Store

FLOATS = ["F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


@pytest.mark.parametrize(("one", "two"), list(combinations(FLOATS, 2)))
def test_the_widest_dtype_holds_both_exactly(one: str, two: str) -> None:
    target = dtype(widest([one, two]))
    for name in (one, two):
        row = dtype(name)
        if row.nbytes > 2:
            continue
        plain = np.arange(1 << 8 * row.nbytes, dtype=f"<u{row.nbytes}").view(np.uint8)
        values = widen(plain, row)
        again = widen(cast(plain, row, target), target)
        finite = np.isfinite(values)
        assert np.array_equal(values[finite], again[finite])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["F16", "BF16"], "F32"),
        (["F16", "F32"], "F32"),
        (["F8_E4M3", "F16"], "F16"),
        (["F8_E4M3", "F8_E5M2"], "BF16"),
        (["F32", "F64", "BF16"], "F64"),
    ],
)
def test_and_is_no_wider_than_that(names: list[str], expected: str) -> None:
    assert widest(names) == expected


def test_a_cast_is_known_in_either_direction_and_across_chunks(store: Store) -> None:
    values = np.random.default_rng(1).standard_normal(700_000).astype(np.float32)
    half = values.astype(np.float16)
    other = half.copy()
    other[-1] += 1
    ids = put(store, values, half, half.astype(np.float32), other)
    full, narrow, again, moved = map(store.tensor, ids)
    assert is_cast(store, full, narrow)
    assert is_cast(store, narrow, again)
    assert not is_cast(store, full, again)
    assert not is_cast(store, full, moved)
    out = bytearray(again.nbytes)
    CastSource(store, narrow, "F32").read_into(0, memoryview(out))
    assert np.array_equal(np.frombuffer(out, np.float32), get(store, ids[2], values))


def test_only_real_numbers_are_cast(store: Store) -> None:
    record = store.tensor(put(store, np.ones(3, np.float32))[0])
    assert can_cast([record])
