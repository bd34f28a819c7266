"""Exact merges: what counts as different rows and elements, and that all changes are kept."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.theta.merge.stored import put
from theta.merge.exact import SPARSE, Terms, UnionSource, elements_differ, rows_differ
from theta_store.store import Store

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


def _terms(store: Store, base: np.ndarray, *sides: np.ndarray) -> Terms:
    before, *after = put(store, base, *sides)
    return Terms(store, tuple(after), before)


def _union(terms: Terms, like: np.ndarray) -> np.ndarray:
    out = bytearray(terms.base.nbytes)
    UnionSource(terms).read_into(0, memoryview(out))
    return np.frombuffer(out, like.dtype).reshape(like.shape)


def _edited(base: np.ndarray, places: set[int], salt: int) -> np.ndarray:
    made = base.copy().reshape(-1)
    for place in places:
        made[place] = 1000 + 10 * place + salt
    return made.reshape(base.shape)


PLACES = st.sets(st.integers(0, 59), max_size=12)
DTYPES = st.sampled_from([np.float32, np.float64, np.float16, np.uint16])


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(st.lists(PLACES, min_size=2, max_size=3), DTYPES, st.booleans())
def test_the_tests_are_what_they_say(
    store: Store, edits: list[set[int]], kind: type, same: bool
) -> None:
    base = np.arange(60).astype(kind).reshape(12, 5)
    sides = [_edited(base, places, 0 if same else salt) for salt, places in enumerate(edits, 1)]
    terms = _terms(store, base, *sides)
    pairs = [(a, b) for n, a in enumerate(edits) for b in edits[n + 1 :]]
    few = all(len(places) <= SPARSE * 60 for places in edits)
    apart = same or not any(a & b for a, b in pairs)
    assert elements_differ(terms) == (few and apart)
    rows = [
        [frozenset(p for p in places if p // 5 == row) for row in range(12)] for places in edits
    ]
    fight = any(
        a[row] and b[row] and not (same and a[row] == b[row])
        for n, a in enumerate(rows)
        for b in rows[n + 1 :]
        for row in range(12)
    )
    assert rows_differ(terms) == (not fight)


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.integers(0, 3), min_size=60, max_size=60), DTYPES)
def test_the_union_has_every_change(store: Store, owners: list[int], kind: type) -> None:
    base = np.arange(60).astype(kind).reshape(12, 5)
    edits = [{p for p, owner in enumerate(owners) if owner == side} for side in (1, 2)]
    sides = [_edited(base, places, salt) for salt, places in enumerate(edits, 1)]
    expected = _edited(_edited(base, edits[0], 1), edits[1], 2)
    terms = _terms(store, base, *sides)
    assert np.array_equal(_union(terms, base), expected)
    assert np.array_equal(_union(Terms(store, terms.ids[::-1], terms.base_id), base), expected)


def test_rows_longer_and_shorter_than_a_chunk(store: Store) -> None:
    base = np.zeros((5, 300_000), np.float32)
    one, two = base.copy(), base.copy()
    one[1] += 1
    two[3] -= 1
    terms = _terms(store, base, one, two)
    assert rows_differ(terms)
    assert np.array_equal(_union(terms, base), one + two)
    two[1, -1] = 7
    assert not rows_differ(_terms(store, base, one, two))


def test_bits_count_not_values(store: Store) -> None:
    """A zero of the other sign is a change, a NaN that stays is none."""
    base = np.zeros(40, np.float32)
    base[0] = np.nan
    one, two = base.copy(), base.copy()
    one[1], two[1] = -0.0, 5
    assert not elements_differ(_terms(store, base, one, two))
    two[1], two[2] = 0, 5
    terms = _terms(store, base, one, two)
    assert elements_differ(terms)
    union = _union(terms, base)
    assert np.signbit(union[1])
    assert union[2] == 5
    assert np.isnan(union[0])


def test_other_shapes_and_nothing_at_all(store: Store) -> None:
    base = np.zeros((4, 3), np.float32)
    assert not _terms(store, base, base + 1, np.zeros((5, 3), np.float32)).fit
    assert not rows_differ(_terms(store, np.zeros((), np.float32), np.ones((), np.float32)))
    empty = np.zeros((0, 3), np.float32)
    assert not rows_differ(_terms(store, empty, empty))
