"""Forms that need others: every update is found, small, exact, and survives gc."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.store.sources import BytesSink, BytesSource, publish, put_commit, tree_of_tensor
from tests.store.updates import adapted, source, sparse, trained, values_of, weights
from theta_store.forms import Form
from theta_store.hints import Adapter, Base, Hint, Sum
from theta_store.ids import ChunkId, RecordId, TensorId
from theta_store.objects import find_form
from theta_store.predictors import CAST, LOW_RANK, NONE, RESCALE, ROWS, SAME, WEIGHTED_SUM
from theta_store.records import Tensor
from theta_store.store import Store


def put(store: Store, tensor: BytesSource, *hints: Hint) -> tuple[TensorId, int]:
    """Store one tensor; return its id and the bytes that it added to the volumes."""
    with store.session() as session:
        (stored,) = session.put_tensors([("w", tensor)], hints=lambda name: hints)
        session.flush()
        added = session.stored_bytes
    assert read(store, store.tensor(stored.id)) == tensor.data
    return stored.id, added


def read(store: Store, record: Tensor) -> bytes:
    sink = BytesSink(record.nbytes)
    store.read_into([(record, sink)])
    return bytes(sink.data)


def forms(store: Store, record: Tensor) -> list[Form]:
    with store._meta.read() as reader:
        found = [find_form(reader, chunk) for chunk in record.chunks]
    return [form for form in found if form is not None]


def predictors(store: Store, id_: TensorId) -> set[int]:
    return {form.predictor for form in forms(store, store.tensor(id_))}


BASE = weights(1, 700, 512)
GROWN = np.concatenate([BASE, weights(9, 64, 512)])
SHUFFLED = np.random.default_rng(3).permutation(700)
VECTOR = np.random.default_rng(4).normal(1, 0.1, 512).astype(np.float32)

UPDATES: dict[str, tuple[int, float, Callable[[str], BytesSource]]] = {
    "dense": (SAME, 0.75, lambda kind: source(trained(BASE, 2), kind)),
    "sparse": (SAME, 0.03, lambda kind: source(sparse(BASE, 2), kind)),
    "low rank": (LOW_RANK, 0.20, lambda kind: source(adapted(BASE, 2), kind)),
    "trimmed": (ROWS, 0.001, lambda kind: source(np.delete(BASE, range(50, 90, 3), axis=0), kind)),
    "grown": (ROWS, 0.08, lambda kind: source(GROWN, kind)),
    "permuted": (ROWS, 0.01, lambda kind: source(BASE[SHUFFLED], kind)),
    "every other row": (ROWS, 0.001, lambda kind: source(BASE[::2], kind)),
}


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("update", UPDATES)
def test_updates_are_recognised(store: Store, update: str, kind: str) -> None:
    predictor, share, make = UPDATES[update]
    base, _ = put(store, source(BASE, kind))
    new = make(kind)
    id_, stored = put(store, new, Base(base))
    # A chunk that is the base's own needs no form of its own.
    assert predictors(store, id_) - {NONE} == {predictor}
    assert stored < share * len(new.data)


def test_a_base_that_only_begins_the_same_is_not_taken_for_the_very_bytes(store: Store) -> None:
    new = source(trained(BASE, 2))
    begins = bytearray(source(weights(8, 700, 512)).data)
    for start in range(0, len(begins), 1 << 20):
        begins[start : start + (1 << 16)] = new.data[start : start + (1 << 16)]
    first, _ = put(store, BytesSource("F32", BASE.shape, bytes(begins)))
    near, _ = put(store, source(BASE))
    _, stored = put(store, new, Base(first), Base(near))
    assert stored < 0.6 * len(new.data)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_rescaled_matrix_is_recognised(store: Store, axis: int) -> None:
    base, _ = put(store, source(BASE))
    factors = VECTOR if axis else np.resize(VECTOR, 700)[:, None]
    new = source((BASE * factors).astype(np.float32))
    id_, stored = put(store, new, Base(base))
    assert predictors(store, id_) == {RESCALE}
    assert stored < 0.01 * len(new.data)


@pytest.mark.parametrize(("old", "new", "share"), [("F32", "BF16", 0.01), ("BF16", "F32", 0.02)])
def test_casts_are_recognised(store: Store, old: str, new: str, share: float) -> None:
    first = source(BASE, old)
    base, _ = put(store, first)
    id_, stored = put(store, source(values_of(first), new), Base(base))
    assert predictors(store, id_) == {CAST}
    assert stored < share * BASE.nbytes


def test_a_merge_costs_nothing(store: Store) -> None:
    sides = [source(trained(BASE, seed)) for seed in (5, 6)]
    ids = [put(store, side)[0] for side in sides]
    half = np.float32(0.5)
    merged = source(values_of(sides[0]) * half + values_of(sides[1]) * half)
    id_, stored = put(store, merged, Sum(tuple(ids), (0.5, 0.5)), Base(ids[0]))
    assert predictors(store, id_) == {WEIGHTED_SUM}
    assert stored < 0.001 * len(merged.data)


def test_an_adapter_that_is_given_is_used(store: Store) -> None:
    rng = np.random.default_rng(7)
    left, right = (rng.normal(0, 0.03, s).astype(np.float32) for s in ((700, 4), (4, 512)))
    ids = [put(store, source(values))[0] for values in (BASE, left, right)]
    merged = source(BASE + left @ right)
    id_, stored = put(store, merged, Adapter(*ids))
    assert predictors(store, id_) == {LOW_RANK}
    assert stored < 0.1 * len(merged.data)


def test_a_hint_that_is_wrong_costs_nothing(store: Store) -> None:
    base, _ = put(store, source(weights(11, 64, 128), "BF16"))
    new = source(weights(12, 700, 512))
    alone = put(store, source(weights(13, 700, 512)))[1]
    gone = TensorId(RecordId(b"\1" * 32))
    id_, stored = put(store, new, Base(base), Base(gone), Sum((base, gone), (0.5, 0.5)))
    assert predictors(store, id_) == {NONE}
    assert stored < 1.01 * alone


@pytest.mark.parametrize("kind", ["I64", "U8", "BOOL", "C64", "F8_E4M3", "GGML_Q8_0", "F64"])
def test_any_dtype_follows_its_base(store: Store, kind: str) -> None:
    rng = np.random.default_rng(5)
    size = 34 * 4096
    old = bytearray(rng.integers(0, 2, size, np.uint8) if kind == "BOOL" else rng.bytes(size))
    shape = {"GGML_Q8_0": (64, 2048), "U8": (size,), "BOOL": (size,), "F8_E4M3": (size,)}
    count = shape.get(kind, (size // 8,))
    base, _ = put(store, BytesSource(kind, count, bytes(old)))
    for at in range(0, size, 997):
        old[at] ^= 1
    id_, stored = put(store, BytesSource(kind, count, bytes(old)), Base(base))
    assert predictors(store, id_) == {SAME}
    assert stored < 0.1 * size


def test_a_chain_stays_shallow(store: Store) -> None:
    values = BASE
    base, _ = put(store, source(values))
    depths = []
    for step in range(9):
        values = trained(values, 20 + step, 3e-6)
        base, _ = put(store, source(values), Base(base))
        depths.append({form.depth for form in forms(store, store.tensor(base))})
    assert depths == [{1}, {2}, {3}, {4}, {1}, {2}, {3}, {4}, {1}]


def test_gc_keeps_what_reachable_forms_need(store: Store) -> None:
    base, _ = put(store, source(BASE))
    new = source(adapted(BASE, 2))
    with store.session() as session:
        (stored,) = session.put_tensors([("w", new)], hints=lambda name: [Base(base)])
        commit = put_commit(session, tree_of_tensor(session, stored.id))
        publish(session, store, commit)
    store.collector(undo_seconds=0).collect()
    assert read(store, store.tensor(stored.id)) == new.data
    assert store.check() == []
    with store._meta.read() as reader:
        form = find_form(reader, store.tensor(stored.id).chunks[0])
        assert form is not None
        assert form.predictor == LOW_RANK
        for need in form.needs:
            if need.kind == "chunk":
                assert find_form(reader, ChunkId(need.id)) is not None
