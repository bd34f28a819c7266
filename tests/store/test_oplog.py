"""Undo and redo walk the log as an editor's history does, in constant time per step."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta_store.db import Table
from theta_store.errors import IntegrityError, NotFound
from theta_store.ids import CommitId, RecordId
from theta_store.oplog import Operation, append_redo, append_undo
from theta_store.refs import RefChange
from theta_store.store import Store

REF = "refs/tags/t"


def _id(number: int) -> CommitId:
    return CommitId(RecordId(number.to_bytes(32, "big")))


def _move(store: Store, new: CommitId) -> None:
    change = RefChange(REF, store.refs.get(REF), new)
    with store.session() as session:
        session.publish(Operation(0, 0, "tag", "t", (change,)))


def _undo(store: Store) -> None:
    target = store.undo_target()
    back = tuple(change.reversed() for change in reversed(target.changes))
    with store.session() as session:
        session.publish(
            Operation(0, 0, "undo", "", back), log=lambda w, op: append_undo(w, target, op)
        )


def _redo(store: Store) -> None:
    target = store.redo_target()
    with store.session() as session:
        session.publish(Operation(0, 0, "redo", "", target.changes), log=append_redo)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["do", "undo", "redo"]), max_size=14))
def test_the_log_is_an_editors_history(steps: list[str]) -> None:
    past: list[CommitId | None] = []
    future: list[CommitId | None] = []
    now: CommitId | None = None
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.create(Path(folder) / "s", head="refs/heads/main") as store,
    ):
        for number, step in enumerate(steps):
            if step == "do":
                past, future = [*past, now], []
                now = _id(number)
                _move(store, now)
            elif step == "undo" and past:
                future, now = [*future, now], past.pop()
                _undo(store)
            elif step == "redo" and future:
                past, now = [*past, now], future.pop()
                _redo(store)
            else:
                with pytest.raises(NotFound):
                    _undo(store) if step == "undo" else _redo(store)
            assert store.refs.get(REF) == now


def test_a_flipped_bit_is_seen(store: Store) -> None:
    _move(store, _id(1))
    with store._meta.write() as writer:
        key, row = next(iter(writer.items(Table.OPERATIONS)))
        broken = bytearray(row)
        broken[-3] ^= 1
        writer.put(Table.OPERATIONS, key, bytes(broken))
    with pytest.raises(IntegrityError, match="operations"):
        list(store.operations())


def test_golden_row(store: Store) -> None:
    change = RefChange(REF, None, _id(7))
    operation = Operation(0, 1_700_000_000_000_000, "tag", "v1", (change,), (_id(1),))
    with store.session() as session:
        session.publish(operation)
    with store._meta.read() as reader:
        _, row = next(iter(reader.items(Table.OPERATIONS)))
        golden = Path(__file__).parent.parent / "golden" / "operation.hex"
        assert bytes(row).hex() == golden.read_text().strip()
