"""Relatives are found by what they hold, when names do not help."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.sources import BytesSource
from tests.store.test_derived_forms import predictors, put
from tests.store.updates import adapted, source, trained, weights
from theta_store.db import Table
from theta_store.ids import RecordId, TensorId
from theta_store.predictors import LOW_RANK, NONE, SAME
from theta_store.sketch import FAR, Sampler, has_sketch, nearest, positions, read_sketch
from theta_store.sketches import kind_key, sketch_key
from theta_store.store import Store

BASE = weights(1, 400, 300)
GOLDEN = Path(__file__).parents[1] / "golden" / "sketch.json"


def _sketch(tensor: BytesSource) -> bytes:
    data = np.frombuffer(tensor.data, np.uint8)
    return read_sketch(tensor.dtype, tensor.shape, lambda start, stop: data[start:stop])


def test_a_fine_tune_under_another_name_is_kept_as_a_difference(store: Store) -> None:
    put(store, source(BASE))
    id_, stored = put(store, source(trained(BASE, 2)))
    assert predictors(store, id_) == {SAME}
    assert stored < 0.75 * BASE.nbytes


def test_a_merged_adapter_is_found_without_a_hint(store: Store) -> None:
    put(store, source(BASE))
    id_, stored = put(store, source(adapted(BASE, 2)))
    assert predictors(store, id_) == {LOW_RANK}
    assert stored < 0.2 * BASE.nbytes


def test_strangers_of_the_same_shape_are_left_alone(store: Store) -> None:
    put(store, source(BASE))
    id_, _ = put(store, source(weights(7, 400, 300)))
    assert predictors(store, id_) == {NONE}


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16", "F64"])
def test_relatives_are_near_and_strangers_far(kind: str) -> None:
    mine, near, far = (
        _sketch(source(values, kind)) for values in (BASE, trained(BASE, 3), weights(8, 400, 300))
    )
    assert nearest(mine, [far, near]) == 1
    assert nearest(mine, [far]) is None
    assert sum(a != b for a, b in zip(mine, near, strict=True)) < FAR / 4


def test_damage_is_no_error_and_gc_takes_what_is_stale(store: Store) -> None:
    first, _ = put(store, source(BASE))
    key = sketch_key("F32", (400, 300), first)
    stale = sketch_key("F32", (400, 300), TensorId(RecordId(b"\1" * 32)))
    with store._meta.write() as writer:
        row = writer.get(Table.SKETCHES, key)
        assert row is not None
        writer.put(Table.SKETCHES, stale, bytes(row))
        writer.put(Table.SKETCHES, key, bytes(row)[:-1])
    put(store, source(trained(BASE, 2)))
    store.collector(undo_seconds=0).collect()
    with store._meta.read() as reader:
        assert list(reader.keys(Table.SKETCHES)) == []


@given(st.integers(1, 97))
def test_the_sketch_does_not_depend_on_how_the_bytes_pass(step: int) -> None:
    tensor = source(BASE[:, :160])
    sampler = Sampler.of(tensor.dtype, tensor.shape)
    assert sampler is not None
    size = step * 4 * 160
    for start in reversed(range(0, len(tensor.data), size)):
        sampler.feed(start, memoryview(tensor.data)[start : start + size])
    assert sampler.finish() == _sketch(tensor)


def test_what_is_small_or_no_float_has_none() -> None:
    assert has_sketch("F32", (128, 128))
    assert not has_sketch("F32", (128, 127))
    assert not has_sketch("F32", (1 << 20,))
    assert not has_sketch("I64", (1 << 10, 1 << 10))


def test_the_bytes_are_golden() -> None:
    golden = json.loads(GOLDEN.read_text())
    plain = (np.arange(400 * 300 * 4, dtype=np.int64) * 31 % 251).astype(np.uint8)
    tensor = BytesSource("F32", (400, 300), plain.tobytes())
    assert kind_key("F32", (400, 300)).hex() == golden["kind"]
    assert list(positions(400 * 300)[:20]) == golden["positions"]
    assert _sketch(tensor).hex() == golden["sketch"]
