"""Refs move by compare-and-set, and every value is sealed."""

import pytest

from tests.store.sources import MAIN, commit_tensors, f32, publish, put_checkpoint, put_commit
from theta_store.db import Table
from theta_store.errors import IntegrityError, RefMoved
from theta_store.ids import CommitId, RecordId
from theta_store.refs import decode_target, encode_target
from theta_store.store import HEAD, Head, Operation, RefChange, Store


def test_an_unborn_branch_then_a_commit(store: Store) -> None:
    assert store.refs.head() == Head(MAIN, None)
    commit = commit_tensors(store, {"w": f32(1, 4)})
    assert store.refs.head() == Head(MAIN, commit)
    assert store.refs.get(HEAD) == commit
    assert store.refs.names("refs/") == [MAIN]


def test_a_lost_race_changes_nothing(store: Store) -> None:
    with store.session() as session:
        mine = put_commit(session, put_checkpoint(session, {"w": f32(1, 4)}), message="mine")
        theirs = commit_tensors(store, {"w": f32(2, 4)})
        change = RefChange(MAIN, None, mine)
        with pytest.raises(RefMoved, match="refs/heads/main moved meanwhile"):
            session.publish(Operation(0, 0, "commit", "", (change,)), commits=[mine])
    assert store.refs.get(MAIN) == theirs
    assert not store.has(mine)
    assert len(list(store.operations())) == 1


def test_a_swapped_value_is_seen(store: Store) -> None:
    commit_tensors(store, {"w": f32(1, 4)})
    commit_tensors(store, {"w": f32(2, 4)}, "refs/heads/other")
    with store._meta.write() as writer:
        row = writer.get(Table.REFS, b"refs/heads/other")
        assert row is not None
        writer.put(Table.REFS, MAIN.encode(), bytes(row))
    with pytest.raises(IntegrityError, match="refs/heads/main"):
        store.refs.get(MAIN)


def test_golden_targets() -> None:
    assert encode_target("refs/heads/main") == b"\x01refs/heads/main"
    id_ = CommitId(RecordId(bytes(range(32))))
    assert encode_target(id_) == b"\x00" + bytes(range(32))
    assert decode_target(encode_target(id_)) == id_
    with pytest.raises(IntegrityError):
        decode_target(b"\x00short")


def test_a_publication_is_one_operation(store: Store) -> None:
    with store.session() as session:
        commit = put_commit(session, put_checkpoint(session, {"w": f32(1, 4)}))
        logged = publish(session, store, commit)
    assert (logged.number, logged.undo) == (1, 1)
    assert store.positions(MAIN) == [commit]
