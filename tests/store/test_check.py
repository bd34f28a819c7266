"""Law 8: damage that changes an answer is reported, with the parameters and commits it hurts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.sources import MAIN, commit_tensors, f32
from theta_store.db import Table
from theta_store.errors import ThetaError
from theta_store.ids import ChunkId, CommitId, RecordId, TensorId
from theta_store.records import Tensor
from theta_store.refs import encode_target
from theta_store.sealed import seal
from theta_store.store import Operation, Problem, Store

Damage = Callable[[Store, Tensor, TensorId, CommitId], None]


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


def _edit(store: Store, table: str, key: bytes, change: Callable[[bytes], bytes] | None) -> None:
    with store._meta.write() as writer:
        if change is None:
            assert writer.delete(table, key)
            return
        row = writer.get(table, key)
        assert row is not None
        writer.put(table, key, change(bytes(row)))


def _payload(store: Store, chunk: ChunkId, change: Callable[[bytes], bytes] | None) -> None:
    volume = store._volumes.get(store._volumes.numbers()[0])
    if change is None:
        volume.delete([chunk])
        return
    with volume.payload(chunk) as payload:
        assert payload is not None
        data = bytes(payload)
    volume.put([(chunk, change(data))])


DAMAGES: dict[str, Damage] = {
    "payload flipped": lambda s, t, i, c: _payload(s, t.chunks[0], lambda d: _flip(d, 40)),
    "payload shortened": lambda s, t, i, c: _payload(s, t.chunks[0], lambda d: d[:-5]),
    "payload deleted": lambda s, t, i, c: _payload(s, t.chunks[0], None),
    "row flipped": lambda s, t, i, c: _edit(s, Table.CHUNKS, t.chunks[0], lambda d: _flip(d, 12)),
    "row seal flipped": lambda s, t, i, c: _edit(
        s, Table.CHUNKS, t.chunks[0], lambda d: _flip(d, 2)
    ),
    "row deleted": lambda s, t, i, c: _edit(s, Table.CHUNKS, t.chunks[0], None),
    "tensor flipped": lambda s, t, i, c: _edit(s, Table.RECORDS, i, lambda d: _flip(d, 30)),
    "tensor deleted": lambda s, t, i, c: _edit(s, Table.RECORDS, i, None),
    "tensor's kind flipped": lambda s, t, i, c: _edit(s, Table.RECORDS, i, lambda d: _flip(d, 9)),
}


@pytest.fixture
def parts(store: Store) -> tuple[Store, Tensor, TensorId, CommitId]:
    commit_tensors(store, {"w": f32(1, 100, 100), "b": f32(2, 9)}, message="first")
    commit = commit_tensors(store, {"w": f32(3, 100, 100), "b": f32(2, 9)}, message="second")
    entry = store.tree_of(commit).entries[0]
    params = store.params(store.checkpoint(entry.id).params)  # type: ignore[arg-type]
    leaf = next(e.tensor for e in params.entries if e.component == "w")
    assert leaf is not None
    return store, store.tensor(leaf), leaf, commit


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_parameter_is_named_with_its_commit(
    parts: tuple[Store, Tensor, TensorId, CommitId], name: str
) -> None:
    store, tensor, id_, commit = parts
    assert store.check() == []
    DAMAGES[name](store, tensor, id_, commit)
    problems = store.check()
    hurts = {(h.commit, h.path, h.name) for p in problems for h in p.hurts}
    assert hurts == {(commit, "model.bin", "w")}, problems
    with pytest.raises(ThetaError):
        _read_everything(store, commit)


def _read_everything(store: Store, commit: CommitId) -> None:
    from tests.store.sources import read_back

    read_back(store, commit)


def test_a_damaged_tree_hurts_the_whole_commit(
    parts: tuple[Store, Tensor, TensorId, CommitId],
) -> None:
    store, _, _, commit = parts
    tree = store.commit(commit).tree
    _edit(store, Table.RECORDS, tree, lambda d: _flip(d, 25))
    assert any(h.commit == commit for p in store.check() for h in p.hurts)


def _kinds(problems: list[Problem]) -> set[tuple[str, str]]:
    return {(problem.kind, problem.what) for problem in problems}


def test_damaged_refs_operations_and_settings(
    parts: tuple[Store, Tensor, TensorId, CommitId],
) -> None:
    store, _, _, _ = parts
    _edit(store, Table.REFS, MAIN.encode(), lambda d: _flip(d, 20))
    assert ("damaged", "ref") in _kinds(store.check())
    with store._meta.write() as writer:
        value = encode_target(CommitId(RecordId(b"\7" * 32)))
        writer.put(Table.REFS, MAIN.encode(), seal(Table.REFS, MAIN.encode(), value))
    assert ("dangling", "ref") in _kinds(store.check())
    _edit(store, Table.OPERATIONS, (1).to_bytes(8, "big"), lambda d: _flip(d, 15))
    assert ("damaged", "entry") in _kinds(store.check())
    _edit(store, Table.REFS, b"HEAD", None)
    assert ("missing", "ref") in _kinds(store.check())


def test_a_damaged_expiry(parts: tuple[Store, Tensor, TensorId, CommitId]) -> None:
    store, _, _, commit = parts
    parent = store.commit(commit).parents[0]
    with store.session() as session:
        session.publish(Operation(0, 0, "forget", "", (), expired=(parent,)))
    _edit(store, Table.EXPIRIES, parent, lambda d: _flip(d, 9))
    assert ("damaged", "entry") in _kinds(store.check())


def test_a_lost_volume_and_truncated_files(
    parts: tuple[Store, Tensor, TensorId, CommitId],
) -> None:
    store, _, _, commit = parts
    folder = store.folder
    store.close()
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(next((copy / "volumes").iterdir()))
    with Store(copy) as broken:
        hurts = {h.name for p in broken.check() for h in p.hurts if h.commit == commit}
        assert {"w", "b"} <= hurts
    shutil.rmtree(copy)
    shutil.copytree(folder, copy)
    _truncate(copy / "meta" / "data.mdb")
    with pytest.raises(ThetaError):
        Store(copy).close()


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_a_repository_of_the_future_is_refused_by_name(store: Store) -> None:
    import msgspec

    from theta_store.errors import ForeignRepository

    for declared, name in (({"version": 2}, "version 2"), ({"version": 1, "read": ["x9"]}, "x9")):
        data = msgspec.msgpack.encode(declared)
        _edit(
            store,
            Table.SETTINGS,
            b"format",
            lambda _, data=data: seal(Table.SETTINGS, b"format", data),  # type: ignore[misc]
        )
        with pytest.raises(ForeignRepository, match=name):
            Store(store.folder)
