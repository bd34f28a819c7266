"""Merged tensors as the store asks for them: any cut, any thread, the same bits."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.theta.merge.stored import NAMES, put
from theta.merge import sources
from theta.merge.choice import Site, parse_choice
from theta.merge.held import Held
from theta.merge.sources import MergedSource, NonFinite, Side, StoredValues
from theta.strategies import Strategy
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Kernel
from theta.strategies.values import Values, philox_key, philox_uniform
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.ids import CommitId, RecordId
from theta_store.store import Store

SHAPE = (500, 1300)
COMMITS = [CommitId(RecordId(bytes([n]) * 32)) for n in range(3)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


def _strategy(text: str) -> Strategy:
    return parse_choice(text).settle(Site(("main", "rte")))


def _source(
    store: Store, text: str, base: np.ndarray, *sides: np.ndarray, seed: int = 0
) -> MergedSource:
    strategy = _strategy(text)
    before, *after = put(store, base, *sides)
    pairs = tuple(Side(id_, commit) for id_, commit in zip(after, COMMITS, strict=False))
    values = StoredValues(store, "a.w", pairs, before, (seed, strategy.id))
    return MergedSource(values, strategy, NAMES[sides[0].dtype.name])


def _read(source: MergedSource, cut: int, threads: int = 1) -> bytes:
    out = bytearray(source.values.records[0].nbytes)
    view = memoryview(out)
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(out), cut)
        list(pool.map(lambda start: source.read_into(start, view[start : start + cut]), starts))
    return bytes(out)


def _arrays(kind: type = np.float32, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(SHAPE).astype(kind) for _ in range(count)]


TEXTS = ["average", "ties density=0.3", "task-arithmetic weight=0.5", "slerp t=0.3"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_store_gives_what_arrays_in_memory_give(store: Store, text: str) -> None:
    base, *sides = _arrays()
    expected = merge_arrays(_strategy(text), sides, base)
    assert _read(_source(store, text, base, *sides), 1 << 20) == expected.tobytes()


@pytest.mark.parametrize("text", [*TEXTS, "dare-ties density=0.5", "della density=0.5"])
def test_neither_cuts_nor_threads_show(store: Store, text: str) -> None:
    arrays = _arrays()
    whole = _read(_source(store, text, *arrays), 1 << 30)
    assert _read(_source(store, text, *arrays), 4 * 7919, threads=4) == whole


@pytest.mark.parametrize("text", [*TEXTS, "breadcrumbs density=0.3", "sce"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_whether_terms_are_held_does_not_show(store: Store, text: str, kind: type) -> None:
    arrays = _arrays(kind)
    expected = _read(_source(store, text, *arrays), 1 << 20)
    source = _source(store, text, *arrays)
    source.held = Held(1 << 30)
    for _ in range(2):
        assert _read(source, 1 << 20) == expected
    assert source.values.is_cheap == (source.strategy.needs.reach == "tensor")
    source.release()
    assert not source.values.is_cheap


def test_random_numbers_belong_to_the_parent_not_to_its_place(store: Store) -> None:
    source = _source(store, "dare density=0.5", *_arrays(), seed=7)
    drawn = source.values.uniform(1, 10, 20)
    key = philox_key(7, "dare", "a.w", COMMITS[1])
    assert np.array_equal(drawn, philox_uniform(key, 10, 20))


def test_a_strategy_is_prepared_once(store: Store) -> None:
    calls = []

    class Counting(Strategy, frozen=True):
        id = "counting"
        formula = "counting/1"

        def prepare(self, values: Values) -> Kernel:
            calls.append(values.name)
            time.sleep(0.05)
            return lambda block: block.sides[0]

    base, *sides = _arrays()
    source = _source(store, "average", base, *sides)
    source.strategy = Counting()
    _read(source, 1 << 16, threads=8)
    assert calls == ["a.w"]


def test_half_floats_are_computed_wide_and_rounded_once(store: Store) -> None:
    base, one, two = _arrays(np.float16)
    half = np.float32(0.5)
    expected = (one.astype(np.float32) * half + two.astype(np.float32) * half).astype(np.float16)
    assert _read(_source(store, "average", base, one, two), 1 << 20) == expected.tobytes()


def test_a_wide_term_makes_all_wide(store: Store) -> None:
    base, one, two = _arrays()
    values = _source(store, "ties", base.astype(np.float64), one, two).values
    block = values.read(3, 9)
    assert {array.dtype for array in (*block.sides, block.base)} == {np.dtype(np.float64)}


@pytest.mark.parametrize("name", ["BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ"])
def test_where_numbers_are_cut_does_not_show_in_what_is_none(name: str) -> None:
    row = dtype(name)
    wide = np.float64 if name == "F64" else np.float32
    values = np.array([-np.inf, np.nan, 1.0, -1e30, 1e30, -np.nan], wide)
    whole = sources._narrowed(values.copy(), row).tobytes()
    parts = [sources._narrowed(values[n : n + 1].copy(), row).tobytes() for n in range(len(values))]
    assert b"".join(parts) == whole
    assert parts[1] == parts[5]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_not_finite_never_reaches_a_strategy(store: Store, bad: float, place: int) -> None:
    arrays = _arrays()
    arrays[place][-1, -1] = bad
    source = _source(store, "ties", *arrays)
    with pytest.raises(NonFinite):
        list(source.values.blocks())
    _read(source, 1 << 20)
    assert not source.finite


def test_overflow_is_an_infinity_and_no_warning(store: Store) -> None:
    base = np.full(8, -3e38, np.float32)
    source = _source(store, "task-arithmetic", base, -base, -base / 2)
    assert np.isinf(np.frombuffer(_read(source, 1 << 20), np.float32)).all()
    assert source.finite


def test_linear_algebra_that_fails_is_one_clear_error(store: Store) -> None:
    class Failing(Strategy, frozen=True):
        id = "failing"
        formula = "failing/1"

        def prepare(self, values: Values) -> Kernel:
            raise np.linalg.LinAlgError("SVD did not converge")

    source = _source(store, "average", *_arrays())
    source.strategy = Failing()
    with pytest.raises(UsageError, match=r"failing fails on a\.w: SVD did not converge"):
        _read(source, 1 << 20)
