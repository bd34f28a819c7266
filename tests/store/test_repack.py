"""Law 6 for repack: no reachable answer changes, and a second run changes nothing more."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.store.repack_race import History, race
from tests.store.updates import source, trained, weights
from theta_store import exchange, need_graph
from theta_store.db import Table
from theta_store.hints import Base, Hint
from theta_store.ids import TensorId
from theta_store.objects import dependants, find_form, forms
from theta_store.store import Store


def _stored(store: Store) -> int:
    return store.sizes().stored_bytes


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_repack_makes_a_history_smaller_and_changes_no_byte(store: Store, kind: str) -> None:
    history = History(store, kind, steps=6)
    before, plain = _stored(store), history.read()
    report = store.repack(history.items())
    assert report.replaced > 0
    assert report.after < report.before
    assert _stored(store) < before
    assert history.read() == plain
    assert store.check() == []
    assert list(_breaches(store)) == []
    again = store.repack(history.items())
    assert again.replaced == 0
    assert history.read() == plain


def test_a_dry_run_tells_and_changes_nothing(store: Store) -> None:
    history = History(store, "BF16", steps=3)
    rows = _rows(store)
    report = store.repack(history.items(), dry=True)
    assert report.replaced > 0
    assert _rows(store) == rows
    assert store.repack(history.items()).after == report.after


def test_gc_after_repack_gives_the_space_back(store: Store) -> None:
    history = History(store, "BF16", steps=6)
    plain = history.read()
    store.repack(history.items())
    store.collector(undo_seconds=0).collect()
    payload = sum(form.stored for _, form in _forms(store))
    volumes = sum(store._volumes.get(n).file_bytes for n in store._volumes.numbers())
    assert volumes < 1.3 * payload + (1 << 20)
    assert history.read() == plain
    assert store.check() == []


def test_a_chunk_never_comes_to_need_itself(store: Store) -> None:
    """Two tensors, each hinted to follow from the other: only one direction can be."""
    first, second = source(weights(1, 256, 256)), source(trained(weights(1, 256, 256), 2))
    with store.session() as session:
        ids = [s.id for s in session.put_tensors([("a", first), ("b", second)])]
        session.flush()
    items: list[tuple[TensorId, list[Hint]]] = [
        (ids[0], [Base(ids[1])]),
        (ids[1], [Base(ids[0])]),
    ]
    store.repack(items)
    store.repack(items)
    depths = sorted(form.depth for _, form in _forms(store))
    assert depths == [0, 1]
    assert list(_breaches(store)) == []


def test_dependants_are_kept_in_step(store: Store) -> None:
    history = History(store, "F32", steps=4)
    store.repack(history.items())
    with store._meta.read() as reader:
        for id_, form in forms(reader):
            for need in form.needs:
                assert need.kind != "chunk" or id_ in set(dependants(reader, need.id))
        count = sum(1 for _ in reader.keys(Table.DEPENDANTS))
        assert count == sum(len({n.id for n in form.needs}) for _, form in forms(reader))


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_killing_repack_and_gc_loses_nothing(tmp_path: Path) -> None:
    """A few kills here; ``make thorough`` runs 200 and prints them per phase."""
    outcome = race(tmp_path / "s", kills=24)
    assert outcome.wrong == []
    assert outcome.kills["publish"] + outcome.kills["sweep"] >= 0.1 * outcome.kills.total()
    assert outcome.acknowledged > 0


@pytest.mark.skipif(os.name == "nt", reason="kills by signal")
def test_publishing_without_reading_needs_again_breaks_the_laws(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a repack that trusts what it read makes a circle."""
    monkeypatch.setattr(exchange, "needs_hold", lambda writer, id_, form: form)
    first, second = source(weights(1, 256, 256)), source(trained(weights(1, 256, 256), 2))
    with store.session() as session:
        ids = [s.id for s in session.put_tensors([("a", first), ("b", second)])]
        session.flush()
    _repack_both_at_once(store, ids)
    with store._meta.read() as reader:
        assert list(need_graph.breaches(reader))


def test_publishing_with_it_does_not(store: Store) -> None:
    first, second = source(weights(1, 256, 256)), source(trained(weights(1, 256, 256), 2))
    with store.session() as session:
        ids = [s.id for s in session.put_tensors([("a", first), ("b", second)])]
        session.flush()
    _repack_both_at_once(store, ids)
    with store._meta.read() as reader:
        assert list(need_graph.breaches(reader)) == []


def _repack_both_at_once(store: Store, ids: list[TensorId]) -> None:
    """Run a second repack, the other way round, between the reading and publishing of the first."""
    items: list[tuple[TensorId, list[Hint]]] = [(ids[0], [Base(ids[1])])]
    other: list[tuple[TensorId, list[Hint]]] = [(ids[1], [Base(ids[0])])]
    calls = []

    def between(done: int) -> None:
        if not calls:
            calls.append(done)
            store.repack(other)

    store.repack(items, progress=between)
    assert calls


def _rows(store: Store) -> list[bytes]:
    with store._meta.read() as reader:
        return [bytes(value) for _, value in reader.items(Table.CHUNKS)]


def _forms(store: Store):  # type: ignore[no-untyped-def]
    with store._meta.read() as reader:
        return list(forms(reader))


def _breaches(store: Store) -> list[tuple[bytes, str]]:
    with store._meta.read() as reader:
        return list(need_graph.breaches(reader))


def test_the_sorted_codec_wins_on_dense_updates(store: Store) -> None:
    history = History(store, "BF16", steps=3)
    store.repack(history.items())
    with store._meta.read() as reader:
        found = [find_form(reader, c) for c in store.tensor(history.ids[-1]).chunks]
    assert {form.codec for form in found if form is not None} == {5}
    assert np.isfinite(store.sizes().stored_bytes)
