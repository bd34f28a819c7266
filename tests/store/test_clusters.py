"""Small tensors share clusters: every byte comes back, and nobody outside can tell."""

import itertools
from collections.abc import Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.sources import (
    MAIN,
    BytesSink,
    BytesSource,
    commit_tensors,
    noise,
    publish,
    put_commit,
    read_back,
    tree_of_tensor,
)
from tests.store.updates import source, trained, weights
from theta_store import clusters, need_graph
from theta_store.chunks import Chain
from theta_store.codecs import Sorted, exact
from theta_store.errors import IntegrityError
from theta_store.forms import Form, Need
from theta_store.hints import Base, Hint, Sum
from theta_store.ids import ChunkId, TensorId, chunk_id
from theta_store.objects import forms, put_form
from theta_store.predictors import PIECES, SAME
from theta_store.store import Operation, RefChange, Store

SMALL = (32, 33)
COUNT = 40

Tensors = Mapping[str, BytesSource]


def _named(seed: int, kind: str = "F32", count: int = COUNT) -> dict[str, BytesSource]:
    return {f"w{i:03}": source(weights(seed + i, *SMALL), kind) for i in range(count)}


def _after(tensors: Tensors, seed: int, names: frozenset[str] | None = None) -> Tensors:
    moved = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        if names is None or name in names:
            values = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
            moved[name] = source(trained(values, seed + number), "F32")
        else:
            moved[name] = tensor
    return moved


def _put(store: Store, tensors: Tensors, old: Mapping[str, TensorId]) -> dict[str, TensorId]:
    """Store a step of a run; return its tensors."""

    def hints(name: str) -> list[Hint]:
        return [Base(old[name])] if name in old else []

    with store.session() as session:
        made = {s.name: s.id for s in session.put_tensors(tensors.items(), hints=hints)}
        session.flush()
    return made


def _read(store: Store, made: Mapping[str, TensorId]) -> dict[str, bytes]:
    found = {}
    for name, id_ in made.items():
        record = store.tensor(id_)
        out = bytearray(record.nbytes)
        store.read_range(record, 0, memoryview(out))
        found[name] = bytes(out)
    return found


def _plain(tensors: Tensors) -> dict[str, bytes]:
    return {name: tensor.data for name, tensor in tensors.items()}


def _forms(store: Store) -> dict[ChunkId, Form]:
    with store._meta.read() as reader:
        return dict(forms(reader))


def _sound(store: Store) -> None:
    assert store.check() == []
    with store._meta.read() as reader:
        assert list(need_graph.breaches(reader)) == []


def _wholes(store: Store) -> list[Form]:
    return [form for form in _forms(store).values() if form.has_payload]


def test_small_tensors_are_stored_as_one_chunk(store: Store) -> None:
    tensors = _named(1)
    made = _put(store, tensors, {})
    assert _read(store, made) == _plain(tensors)
    kept = _forms(store)
    pieces = [kept[ChunkId(chunk_id(tensor.data))] for tensor in tensors.values()]
    assert {(f.volume, f.predictor, f.codec, f.stored, f.depth) for f in pieces} == {
        (0, PIECES, exact.NUMBER, 0, 1)
    }
    (whole,) = _wholes(store)
    assert whole.plain == sum(len(tensor.data) for tensor in tensors.values())
    assert store.sizes().logical_bytes == whole.plain
    _sound(store)


def test_a_step_of_all_of_them_is_a_difference_of_clusters(store: Store) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    for step in range(1, 7):
        tensors = _after(tensors, 1000 * step)
        old = _put(store, tensors, old)
        assert _read(store, old) == _plain(tensors)
    wholes = sorted(_wholes(store), key=lambda form: form.born)
    assert {form.predictor for form in wholes[1:]} == {SAME}
    assert max(form.stored for form in wholes[1:]) < 0.75 * wholes[0].stored
    assert max(form.depth for form in wholes) <= 4
    _sound(store)


def test_a_step_of_some_of_them_is_guessed_from_parts(store: Store) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    for step in range(1, 7):
        names = frozenset(name for i, name in enumerate(tensors) if i % (step + 1))
        tensors = _after(tensors, 1000 * step, names)
        old = _put(store, tensors, old)
        assert _read(store, old) == _plain(tensors)
    wholes = sorted(_wholes(store), key=lambda form: form.born)
    assert {form.predictor for form in wholes[1:]} == {PIECES}
    assert max(form.depth for form in wholes) <= 4
    _sound(store)


def test_bases_strewn_over_too_many_clusters_are_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    monkeypatch.setattr(clusters, "MOST_HELD", 1000)
    names = frozenset(list(tensors)[::2])
    tensors = _after(tensors, 1000, names)
    old = _put(store, tensors, old)
    assert _read(store, old) == _plain(tensors)
    assert {form.predictor for form in _wholes(store)} == {0}


def test_one_alone_is_a_chunk_of_its_own(store: Store) -> None:
    old = _put(store, {"w": source(weights(1, *SMALL))}, {})
    (form,) = _forms(store).values()
    assert (form.volume, form.depth, form.predictor) == (1, 0, 0)
    made = _put(store, _after({"w": source(weights(1, *SMALL))}, 5), old)
    assert store.kept(store.tensor(made["w"]))[0].predictor == "same"


def test_a_piece_that_changes_alone_follows_from_its_old_self(store: Store) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    moved = _after(tensors, 77, frozenset({"w007"}))
    made = _put(store, moved, old)
    assert _read(store, made) == _plain(moved)
    form = _forms(store)[ChunkId(chunk_id(moved["w007"].data))]
    assert (form.predictor, form.depth) == (SAME, 2)
    _sound(store)


def test_large_tensors_and_other_dtypes_keep_to_themselves(store: Store) -> None:
    tensors: dict[str, BytesSource] = {
        "large": source(weights(1, 128, 128)),
        **{f"f{i}": source(weights(i, *SMALL), "F32") for i in range(3)},
        **{f"b{i}": source(weights(i, *SMALL), "BF16") for i in range(3)},
        **{f"i{i}": BytesSource("I64", (), noise(i, 8)) for i in range(3)},
        "empty": BytesSource("F32", (0, 4), b""),
    }
    made = _put(store, tensors, {})
    assert _read(store, made) == _plain(tensors)
    assert sorted(form.width for form in _wholes(store)) == [2, 4, 4, 8]
    _sound(store)


def test_what_became_another_dtype_is_cast(store: Store) -> None:
    wide = _named(1)
    old = _put(store, wide, {})
    narrow = _named(1, "BF16")
    made = _put(store, narrow, old)
    assert _read(store, made) == _plain(narrow)
    assert {store.kept(store.tensor(id_))[0].predictor for id_ in made.values()} == {"cast"}


def test_what_a_merge_computed_is_kept_as_its_sum(store: Store) -> None:
    tensors = _named(1)
    base = _put(store, tensors, {})
    sides = [_put(store, _after(tensors, seed), base) for seed in (1000, 2000)]
    before = store.sizes().stored_bytes
    with store.session() as session:
        sums = {name: Sum((sides[0][name], sides[1][name]), (0.5, 0.5)) for name in tensors}
        sources = [(name, store.sum_of(total)) for name, total in sums.items()]
        stored = session.put_tensors(sources, hints=lambda n: [sums[n], Base(sides[0][n])])
        made = {each.name: each.id for each in stored}
        session.flush()
    assert {store.kept(store.tensor(id_))[0].predictor for id_ in made.values()} == {"weighted-sum"}
    assert store.sizes().stored_bytes - before < 400 * COUNT
    halves = [_read(store, side) for side in sides]
    for name, plain in _read(store, made).items():
        one, two = (np.frombuffer(half[name], "<f4") for half in halves)
        assert plain == (np.float32(0.5) * one + np.float32(0.5) * two).tobytes()


def test_the_same_bytes_twice_are_stored_once(store: Store) -> None:
    tensors = _named(1)
    twins = {f"{name}.twin": tensor for name, tensor in tensors.items()}
    made = _put(store, {**tensors, **twins}, {})
    assert _read(store, made) == _plain({**tensors, **twins})
    (whole,) = _wholes(store)
    assert whole.plain == sum(len(tensor.data) for tensor in tensors.values())


def test_repack_makes_clusters_smaller_and_changes_no_byte(store: Store) -> None:
    history = [(_named(1), _put(store, _named(1), {}))]
    for step in range(1, 4):
        tensors = _after(history[-1][0], 1000 * step)
        history.append((tensors, _put(store, tensors, history[-1][1])))
    items = [
        (id_, [Base(before[name])])
        for (_, before), (_, after) in itertools.pairwise(history)
        for name, id_ in after.items()
    ]
    report = store.repack(items)
    assert 0 < report.replaced <= 3
    assert report.after < report.before
    assert any(form.codec == Sorted.number for form in _wholes(store))
    for tensors, made in history:
        assert _read(store, made) == _plain(tensors)
    assert store.repack(items).replaced == 0
    _sound(store)


def test_a_cluster_stays_as_long_as_one_piece_is_wanted(store: Store) -> None:
    tensors = _named(1)
    old = "refs/heads/old"
    first = commit_tensors(store, tensors, old)
    kept = dict(_after(tensors, 9)) | {"w000": tensors["w000"]}
    second = commit_tensors(store, kept)
    with store.session() as session:
        session.publish(Operation(0, 0, "branch", "gone", (RefChange(old, first, None),)))
    store.collector(undo_seconds=0).collect()
    assert read_back(store, second) == _plain(kept)
    pieces = [form for form in _forms(store).values() if not form.has_payload]
    assert len(pieces) == COUNT
    _sound(store)


def test_a_damaged_cluster_is_named_with_every_parameter(store: Store) -> None:
    tensors = _named(1, count=3)
    commit_tensors(store, tensors)
    (whole_id,) = [id_ for id_, form in _forms(store).items() if form.plain > 2 * 4096]
    volume = store._volumes.get(1)
    with volume.payload(whole_id) as payload:
        assert payload is not None
        spoiled = bytes([*payload[:-1], payload[-1] ^ 1])
    volume.put([(whole_id, spoiled)])
    found = store.check()
    assert {hurt.name for problem in found for hurt in problem.hurts} == set(tensors)


@pytest.mark.parametrize(
    ("shift", "text"), [(1, "is damaged"), (1 << 20, "outside"), (-1 << 20, "outside")]
)
def test_pieces_that_lie_are_refused_when_read_with_others(
    store: Store, shift: int, text: str
) -> None:
    made = _put(store, _named(1, count=3), {})
    records = store.tensors(made.values())
    lying = records[1].chunks[0]
    form = _forms(store)[lying]
    (need,) = form.needs
    moved = msgspec.structs.replace(need, start=need.start + shift, stop=need.stop + shift)
    with store._meta.write() as writer:
        put_form(writer, lying, msgspec.structs.replace(form, needs=(moved,)))
    sinks = [BytesSink(record.nbytes) for record in records]
    with pytest.raises(IntegrityError, match=text):
        store.read_into(zip(records, sinks, strict=True))


def test_pieces_of_a_few_clusters_are_read_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    others = _named(1000)
    made = old | {f"other {name}": id_ for name, id_ in _put(store, others, {}).items()}
    # One from each in turn: neighbours lie in different clusters.
    names = [n for one, two in zip(tensors, others, strict=True) for n in (one, f"other {two}")]
    monkeypatch.setattr(store._chunks, "read_into", None)  # the way of one alone
    sinks = {name: BytesSink(4 * 32 * 33) for name in names}
    records = store.tensors(made[name] for name in names)
    store.read_into(zip(records, sinks.values(), strict=True))
    wanted = _plain(tensors) | {f"other {name}": t.data for name, t in others.items()}
    assert {name: bytes(sink.data) for name, sink in sinks.items()} == wanted


def test_a_damaged_base_keeps_nobody_from_storing(store: Store) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    (whole_id,) = [id_ for id_, form in _forms(store).items() if form.has_payload]
    store._volumes.get(1).put([(whole_id, b"spoiled")])
    moved = _after(tensors, 1000)
    made = _put(store, moved, old)
    assert _read(store, made) == _plain(moved)


def test_an_endless_chain_of_pieces_is_refused() -> None:
    one, two = ChunkId(b"1" * 32), ChunkId(b"2" * 32)

    def form(below: ChunkId) -> Form:
        return Form(0, PIECES, exact.NUMBER, 1, 4, 8, 0, 1, (Need("chunk", below, 0, 8),), 0)

    chain = Chain({one: form(two), two: form(one)})
    with pytest.raises(Exception, match="not deeper"):
        list(clusters._behind(Need("chunk", one, 0, 8), chain))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5), st.data())
def test_parts_of_a_guess_are_what_they_are_guessed_from(
    spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    """``spans`` are the starts and lengths of the parts of chunks of 20 bytes."""
    chunks = {bytes([n]) * 32: bytes(range(20 * n, 20 * n + 20)) for n in range(len(spans))}
    needs = tuple(
        Need("chunk", id_, start, start + size)
        for id_, (start, size) in zip(chunks, spans, strict=True)
    )
    guess = b"".join(chunks[need.id][need.start : need.stop] for need in needs)
    key = Need("chunk", b"k" * 32, 0, len(guess))
    form = Form(1, PIECES, Sorted.number, 1, 1, len(guess), 9, 1, (*needs, key), 0)
    start = data.draw(st.integers(0, len(guess)))
    stop = data.draw(st.integers(start, len(guess)))
    below = list(clusters.parts_below(form, start, stop))
    assert b"".join(chunks[n.id][n.start : n.stop] for n in below) == guess[start:stop]


def test_who_takes_a_cluster_is_told_by_parts(store: Store) -> None:
    tensors = _named(1)
    old = _put(store, tensors, {})
    moved = _after(tensors, 1000)
    made = _put(store, moved, old)
    with store.session() as session:
        trees = [tree_of_tensor(session, ids["w000"]) for ids in (old, made)]
        first = put_commit(session, trees[0])
        publish(session, store, put_commit(session, trees[1], [first]))
    (whole, delta) = sorted(_wholes(store), key=lambda form: form.born)[:2]
    usage = store.usage("commit")
    assert usage.reachable == sum(row.exclusive for row in usage.rows) + usage.shared
    # The first commit's piece is what the second's is guessed from: both have it.
    assert usage.shared == pytest.approx(whole.stored / COUNT, abs=600)
    newest = max(row.exclusive for row in usage.rows)
    assert newest == pytest.approx(delta.stored / COUNT, abs=600)


KINDS = {"F32": 4, "BF16": 2, "U8": 1, "F8_E4M3": 1, "C64": 8, "BOOL": 1}


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, BytesSource]]:
    """Return some states of a model of small tensors, of which any may change, come or go."""
    names = [f"t{i}" for i in range(draw(st.integers(2, 12)))]
    kinds = {name: draw(st.sampled_from(sorted(KINDS))) for name in names}
    sizes = {name: draw(st.integers(1, 400)) for name in names}
    made: list[dict[str, BytesSource]] = []
    for step in range(draw(st.integers(1, 5))):
        state: dict[str, BytesSource] = {}
        for number, name in enumerate(names):
            how = draw(st.sampled_from(["kept", "near", "new", "gone", "twin"]))
            before = made[-1].get(name) if made else None
            plain = _state(
                how, before, state, 100 * step + number, KINDS[kinds[name]] * sizes[name]
            )
            if plain is not None:
                state[name] = BytesSource(kinds[name], (sizes[name],), plain)
        made.append(state)
    return made


def _state(
    how: str, before: BytesSource | None, state: Tensors, seed: int, size: int
) -> bytes | None:
    if how == "gone":
        return None
    if how == "twin":
        twins = [tensor.data for tensor in state.values() if len(tensor.data) == size]
        return twins[0] if twins else noise(seed, size)
    if before is None or how == "new":
        return noise(seed, size)
    plain = bytearray(before.data)
    if how == "near":
        for place in range(seed % 3, size, 7):
            plain[place] = (plain[place] + 1) % 256
    return bytes(plain)


@given(steps())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_history_of_small_tensors_comes_back(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, BytesSource]]
) -> None:
    with Store.create(tmp_path_factory.mktemp("s") / "s", head=MAIN) as store:
        old: dict[str, TensorId] = {}
        made = []
        for state in history:
            old = _put(store, state, old)
            made.append(old)
        for state, ids in zip(history, made, strict=True):
            assert _read(store, ids) == _plain(state)
        _sound(store)
