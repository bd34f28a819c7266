"""What was read in one state of ``meta`` is remembered for as long as that is its state."""

from collections.abc import Iterator

import pytest

from tests.store.sources import commit_tensors, f32
from theta_store.db import Reader, Table, environment
from theta_store.ids import CommitId, ParamsId, TensorId
from theta_store.store import Store


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The table of every look at ``meta``."""
    seen: list[str] = []
    get = Reader.get

    def counted(self: Reader, table: str, key: bytes) -> memoryview | None:
        seen.append(str(table))
        return get(self, table, key)

    monkeypatch.setattr(Reader, "get", counted)
    return seen


@pytest.fixture
def commit(store: Store) -> CommitId:
    return commit_tensors(store, {"w": f32(1, 10), "b": f32(2, 9)}, message="first")


def _root(store: Store, commit: CommitId) -> ParamsId:
    return store.checkpoint(store.tree_of(commit).entries[0].id).params  # type: ignore[arg-type]


def _leaf(store: Store, commit: CommitId) -> TensorId:
    leaf = store.params(_root(store, commit)).entries[0].tensor
    assert leaf is not None
    return leaf


def test_a_record_and_a_form_are_looked_up_once(
    store: Store, commit: CommitId, looks: list[str]
) -> None:
    tensor = store.tensor(_leaf(store, commit))
    out = memoryview(bytearray(tensor.nbytes))
    store.read_range(tensor, 0, out)
    looks.clear()
    assert store.tensor(_leaf(store, commit)) == tensor
    store.read_range(tensor, 0, out)
    assert not {Table.RECORDS, Table.CHUNKS} & set(looks)


def test_after_a_write_it_is_looked_up_again(
    store: Store, commit: CommitId, looks: list[str]
) -> None:
    leaf = _leaf(store, commit)
    store.tensor(leaf)
    with store._meta.write() as writer:
        writer.put(Table.SETTINGS, b"anything", b"")
    looks.clear()
    store.tensor(leaf)
    assert looks == [Table.RECORDS]


def test_a_record_that_is_gone_is_not_remembered(store: Store, commit: CommitId) -> None:
    leaf = _leaf(store, commit)
    store.tensor(leaf)
    with store._meta.write() as writer:
        writer.delete(Table.RECORDS, leaf)
    with pytest.raises(Exception, match="missing"):
        store.tensor(leaf)


def test_fsck_believes_no_memory(store: Store, commit: CommitId, looks: list[str]) -> None:
    tensor = store.tensor(_leaf(store, commit))
    store.read_range(tensor, 0, memoryview(bytearray(tensor.nbytes)))
    looks.clear()
    assert store.check() == []
    assert {Table.RECORDS, Table.CHUNKS} <= set(looks)


def test_the_memory_is_bounded(
    store: Store, commit: CommitId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "MOST_REMEMBERED", 2)
    for _ in range(3):
        store.nodes([_root(store, commit)])
        store.tensor(_leaf(store, commit))
        assert len(store._meta._environment._memo[1]) <= 4
