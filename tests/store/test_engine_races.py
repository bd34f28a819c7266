"""What sessions, repack and gc do to each other between two steps: each was a loss once."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.store.repack_race import read
from tests.store.sources import MAIN, BytesSource, publish, put_commit, tree_of_tensor
from tests.store.updates import source, trained, weights
from theta_store.codecs import exact
from theta_store.forms import Form, Need
from theta_store.hints import Base, Hint
from theta_store.ids import ChunkId, CommitId, TensorId
from theta_store.objects import find_form, put_form
from theta_store.predictors import PIECES
from theta_store.repack import Repacker
from theta_store.session import _enter_rows
from theta_store.store import CollectedMeanwhile, Operation, RefChange, Session, Store

FIRST = weights(1, 256, 512)
SECOND = trained(FIRST, 2)


def commit(
    store: Store, session: Session, tensor: BytesSource, *hints: Hint, ref: str = MAIN
) -> TensorId:
    (stored,) = session.put_tensors([("w", tensor)], hints=lambda name: hints)
    parent = store.refs.get(ref)
    parents = [] if parent is None else [parent]
    made = put_commit(session, tree_of_tensor(session, stored.id), parents)
    publish(session, store, made, ref)
    return stored.id


def one(store: Store, tensor: BytesSource, *hints: Hint, ref: str = MAIN) -> TensorId:
    with store.session() as session:
        return commit(store, session, tensor, *hints, ref=ref)


def tip(store: Store, ref: str = MAIN) -> CommitId:
    found = store.refs.get(ref)
    assert found is not None
    return found


def forget(store: Store, commit_: CommitId) -> None:
    with store.session() as session:
        session.publish(Operation(0, 0, "forget", "", (), expired=(commit_,)))


@contextmanager
def in_gcs_gap(store: Store, act: Callable[[], object]) -> Iterator[None]:
    """Collect, with something done between the mark and the sweep."""

    class Meta:
        def __getattr__(self, name: str) -> Any:
            return getattr(store._meta, name)

        def write(self) -> Any:
            if not done:
                done.append(act())
            return store._meta.write()

    done: list[object] = []
    collector = dataclasses.replace(store.collector(undo_seconds=0), meta=Meta())  # type: ignore[arg-type]
    collector.collect()
    assert done
    yield
    store._chunks._cache.__init__(store.limits.cache_bytes)  # type: ignore[misc]
    assert store.check() == []


def test_a_tensor_of_which_a_part_is_needed_is_walked_as_a_whole(store: Store) -> None:
    big = weights(1, 3072, 512)
    whole, cut = source(big), source(big[100:600])
    id_ = one(store, whole)
    first = tip(store)
    part = one(store, cut, Base(id_))
    assert one(store, whole) == id_
    forget(store, first)
    store.collector(undo_seconds=0).collect()
    assert read(store, id_) == whole.data
    assert read(store, part) == cut.data
    assert store.check() == []


def test_a_second_session_does_not_put_over_the_payload_of_the_first(store: Store) -> None:
    base = one(store, source(FIRST, "BF16"))
    new = source(SECOND, "BF16")
    with store.session() as late:
        (stored,) = late.put_tensors([("w", new)], hints=lambda name: [Base(base)])
        early = one(store, new, ref="refs/heads/a")
        made = put_commit(late, tree_of_tensor(late, stored.id))
        publish(late, store, made, "refs/heads/b")
    assert read(store, early) == new.data
    assert store.check() == []


def test_repack_does_not_put_over_what_gc_has_copied(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [weights(1, 512, 512)]
    for seed in range(3):
        steps.append(trained(steps[-1], seed))
    with store.session() as session:
        list(session.put_tensors([("junk", source(weights(99, 4096, 512)))]))
        session.flush()
    ids = [one(store, source(step, "BF16")) for step in steps]
    inner, done = Repacker._publish, []

    def with_gc(self: Repacker, writer: Any) -> None:
        if not done:
            done.append(store.collector(undo_seconds=0).collect())
        inner(self, writer)

    monkeypatch.setattr(Repacker, "_publish", with_gc)
    store.repack((new, [Base(old)]) for old, new in itertools.pairwise(ids))
    assert done
    assert [read(store, id_) for id_ in ids] == [source(s, "BF16").data for s in steps]
    assert store.check() == []


def test_a_need_that_repack_takes_up_in_gcs_gap_stays(store: Store) -> None:
    old = one(store, source(FIRST, "BF16"))
    first = tip(store)
    new = one(store, source(SECOND, "BF16"))
    forget(store, first)
    with in_gcs_gap(store, lambda: store.repack([(new, [Base(old)])])):
        assert read(store, new) == source(SECOND, "BF16").data


def test_a_form_that_is_flushed_in_gcs_gap_keeps_its_need(store: Store) -> None:
    side = "refs/heads/side"
    base = one(store, source(FIRST, "BF16"), ref=side)
    with store.session() as session:
        session.publish(Operation(0, 0, "branch", "", (RefChange(side, tip(store, side), None),)))
    new = source(SECOND, "BF16")
    with store.session() as session:
        (stored,) = session.put_tensors([("w", new)], hints=lambda name: [Base(base)])
        with in_gcs_gap(store, session.flush):
            pass
    assert read(store, one(store, new)) == new.data
    assert stored.id


def test_a_ref_is_not_moved_to_a_commit_that_gc_took(store: Store) -> None:
    side = "refs/heads/side"
    one(store, source(weights(5, 64, 64)))
    one(store, source(weights(1, 64, 64)), ref=side)
    gone = tip(store, side)
    with store.session() as session:
        session.publish(Operation(0, 0, "branch", "", (RefChange(side, gone, None),)))
    with store.session() as session:
        store.collector(undo_seconds=0).collect()
        change = RefChange("refs/heads/again", None, gone)
        with pytest.raises(CollectedMeanwhile):
            session.publish(Operation(0, 0, "branch", "", (change,)))
    assert store.collector(undo_seconds=0).collect().chunks == 0


def test_nothing_is_built_on_a_damaged_base(store: Store) -> None:
    base = one(store, source(FIRST))
    chunk = store.tensor(base).chunks[0]
    volume = store._volumes.get(store._volumes.numbers()[0])
    with volume.payload(chunk) as payload:
        assert payload is not None
        good = bytes(payload)
    bad = bytearray(good)
    bad[100] ^= 1  # in the plane that is kept raw
    volume.put([(chunk, bytes(bad))])
    new = one(store, source(SECOND), Base(base))
    volume.put([(chunk, good)])
    assert read(store, new) == source(SECOND).data
    assert np.frombuffer(read(store, base), "<f4")[0] == FIRST[0, 0]


def test_a_form_is_deeper_than_a_chunk_that_was_stored_again_before_it(store: Store) -> None:
    def form(depth: int, *needs: ChunkId) -> Form:
        parts = tuple(Need("chunk", need, 0, 8) for need in needs)
        return Form(0, PIECES, exact.NUMBER, exact.VERSION, 1, 8, 0, depth, parts, 0)

    gone, low, middle, torn, early, late = (ChunkId(bytes([n]) * 32) for n in range(6))
    with store._meta.write() as writer:
        put_form(writer, low, form(0))
        put_form(writer, middle, form(1, low))
        put_form(writer, torn, form(1, gone))
    rows = [(early, form(0, torn)), (torn, form(0, middle)), (late, form(0, torn))]
    with store._meta.write() as writer:
        _enter_rows(writer, rows, lambda _: True, {})
    with store._meta.read() as reader:
        depths = [found.depth for id_ in (torn, late) if (found := find_form(reader, id_))]
    assert depths == [2, 3]
