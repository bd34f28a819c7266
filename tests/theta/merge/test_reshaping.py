"""Terms of several shapes as terms of one, against whole arrays, for every cut."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.theta.merge.stored import put
from theta.merge import reshaping
from theta.merge.reshaping import AlignedRows, Reshape, padded, terms_of, truncated
from theta.merge.row_map import RowMap, by_place
from theta.merge.sources import NonFinite, Side, StoredValues
from theta.strategies import STRATEGIES
from theta.strategies.union_rows import RowValues
from theta_store.ids import CommitId, RecordId
from theta_store.store import Store

COMMIT = CommitId(RecordId(bytes(32)))
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


def _values(
    store: Store, reshape: Reshape, base: np.ndarray, *sides: np.ndarray, nonfinite: bool = False
) -> StoredValues:
    before, *after = put(store, base, *sides)
    terms = tuple(Side(id_, COMMIT) for id_ in after)
    return terms_of(reshape, store, "w", terms, before, (0, "average"), nonfinite=nonfinite)


def _array(shape: tuple[int, ...], salt: int) -> np.ndarray:
    return np.random.default_rng(salt).integers(-9, 9, shape).astype(np.float32)


def _box(array: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return an array in a box of another shape, and where it has elements."""
    made, here = np.zeros(shape, np.float32), np.zeros(shape, bool)
    common = tuple(slice(min(a, b)) for a, b in zip(array.shape, shape, strict=True))
    made[common], here[common] = array[common], True
    return made, here


SHAPE = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(st.lists(SHAPE, min_size=3, max_size=4), st.integers(1, 20), st.booleans())
def test_boxes_hold_what_every_term_has_and_what_the_base_says(
    store: Store, shapes: list[tuple[int, ...]], cut: int, pad: bool
) -> None:
    base, *sides = [_array(shape, salt) for salt, shape in enumerate(shapes)]
    make = padded if pad else truncated
    reshape = make([side.shape for side in sides], base.shape)
    values = _values(store, reshape, base, *sides)
    extreme = max if pad else min
    among = sides if pad else [*sides, base]
    assert values.shape == tuple(extreme(term.shape[axis] for term in among) for axis in range(3))
    boxes = [_box(side, values.shape) for side in sides]
    expected, based = _box(base, values.shape)
    here = np.stack([there for _, there in boxes])
    arrays = np.stack([box for box, _ in boxes])
    count = np.maximum(here.sum(axis=0), 1)
    expected = np.where(based, expected, (arrays * here).sum(axis=0) / count)
    for block in values.blocks(cut):
        run = slice(block.start, block.stop)
        assert block.base is not None
        assert np.allclose(block.base, expected.reshape(-1)[run], atol=1e-5)
        for side, (box, there) in zip(block.sides, boxes, strict=True):
            own = np.where(there, box, expected).reshape(-1)[run]
            assert np.allclose(side, own, atol=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(st.integers(1, 5), st.lists(st.integers(1, 7), min_size=2, max_size=3), st.integers(1, 9))
def test_aligned_rows_keep_every_row(store: Store, rows: int, counts: list[int], cut: int) -> None:
    base = _array((rows, 2, 2), 0)
    sides = [_array((count, 2, 2), salt) for salt, count in enumerate(counts, 1)]
    found = by_place(counts, rows)
    values = _values(store, AlignedRows((found.count, 2, 2), found, 4), base, *sides)
    assert isinstance(values, RowValues)
    made = [np.concatenate([b.sides[n] for b in values.blocks(cut)]) for n in range(len(sides))]
    for side, array, places in zip(made, sides, found.sides, strict=True):
        shaped = side.reshape(found.count, 2, 2)
        assert np.array_equal(shaped[places >= 0], array[places[places >= 0]])
    union = STRATEGIES.get("union-rows")().prepare(values)
    merged = np.concatenate([union(block) for block in values.blocks(cut)])
    behind = merged.reshape(found.count, 2, 2)[min(rows, max(counts)) :]
    assert np.array_equal(behind, np.concatenate([side[rows:] for side in sides]))


def test_what_only_one_side_has_keeps_its_bits(store: Store) -> None:
    base = np.zeros((1, 2), np.float32)
    tiny = np.array([[0, 0], [1.4e-45, -3e-45]], np.float32)
    for sides in ([tiny, base], [tiny, tiny]):
        values = _values(store, padded([s.shape for s in sides], base.shape), base, *sides)
        block = values.whole()
        assert block.base is not None
        assert block.base.tobytes() == tiny.tobytes()
        assert all(side.tobytes() == tiny.tobytes() for side in block.sides)


@pytest.mark.parametrize("gap", [12, 1 << 14])
@pytest.mark.parametrize("near", [True, False])
def test_rows_in_any_order_are_read_in_spans(
    store: Store, monkeypatch: pytest.MonkeyPatch, gap: int, near: bool
) -> None:
    monkeypatch.setattr(reshaping, "GAP", gap)
    monkeypatch.setattr(reshaping, "SPAN", 32)
    base = _array((40, 2), 0)
    # Neighbours that changed places are still read together.
    order = np.arange(40).reshape(-1, 4)[:, [0, 2, 1, 3]].ravel()
    if not near:
        order = np.random.default_rng(1).permutation(40)
    found = RowMap((order, order), order)
    values = _values(store, AlignedRows((40, 2), found, 2), base, base, base)
    block = values.whole()
    assert block.base is not None
    assert np.array_equal(block.base.reshape(40, 2), base[order])


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 6])
def test_long_rows_are_cut_into_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reshaping, "PIECE", piece)
    base, side = _array((3, 12), 0), _array((5, 12), 1)
    found = by_place([3, 5], 3)
    for reshape in (
        AlignedRows((5, 12), found, 12),
        padded([base.shape, side.shape], base.shape),
    ):
        values = _values(store, reshape, base, base, side)
        assert values.reshape.unit <= piece
        blocks = list(values.blocks(7))
        ours, theirs = (np.concatenate([b.sides[n] for b in blocks]) for n in (0, 1))
        assert np.array_equal(ours.reshape(5, 12)[:3], base)
        assert np.array_equal(theirs.reshape(5, 12), side)


def test_what_is_no_number_is_found_where_it_is_read(store: Store) -> None:
    base = np.zeros((2, 2), np.float32)
    bad = np.array([[0, 0, 0], [0, 0, np.nan]], np.float32)
    shapes = [bad.shape, base.shape]
    with pytest.raises(NonFinite):
        _values(store, padded(shapes, base.shape), base, bad, base).whole()
    assert not np.isnan(
        _values(store, truncated(shapes, base.shape), base, bad, base).whole().sides[0]
    ).any()
    allowed = _values(store, padded(shapes, base.shape), base, bad, base, nonfinite=True)
    assert np.isnan(allowed.whole().sides[0]).sum() == 1


def test_keys_tell_reshapings_apart() -> None:
    boxes = {padded([(2, 3), (3, 2)], (2, 2)).key, padded([(3, 2), (2, 3)], (2, 2)).key}
    maps = {AlignedRows((2,), by_place(counts, 1), 1).key for counts in ([2, 1], [1, 2])}
    assert len(boxes) == len(maps) == 2
