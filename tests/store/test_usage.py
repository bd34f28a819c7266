"""Exclusive and shared bytes: checked against the closure that gc walks, on random histories."""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.sources import (
    MAIN,
    BytesSource,
    commit_tensors,
    f32,
    publish,
    put_checkpoint,
    put_commit,
)
from theta_store.db import Table
from theta_store.errors import MissingObject
from theta_store.forms import Need
from theta_store.graph import reach
from theta_store.ids import (
    ID_BYTES,
    CheckpointId,
    ChunkId,
    CommitId,
    ParamsId,
    RecordId,
    TensorId,
    TreeId,
)
from theta_store.objects import delete_form, find_form, put_form
from theta_store.records import Blob, Checkpoint, Commit, File, Params, ParamsEntry, Tree, TreeEntry
from theta_store.store import BRANCHES, Operation, Owner, Store, Usage


def _plain(number: int) -> BytesSource:
    return BytesSource("I32", (8 + number,), number.to_bytes(4, "little") * (8 + number))


def _closure(store: Store, roots: Iterable[RecordId]) -> set[bytes]:
    """Return what gc would keep for these, without the parents of commits.

    In place of a cluster stand the parts of it that its pieces are.
    """
    found: set[bytes] = set()
    with store._meta.read() as reader:
        for root in roots:
            record = store.record(root)
            if isinstance(record, Commit):
                found.add(root)
                below = [record.tree, *([record.recipe] if record.recipe else [])]
            else:
                below = [root]
            reached = reach(reader, below)
            kept = {id_: find_form(reader, id_) for id_ in reached.chunks}
            parts = [
                n for form in kept.values() if form and not form.has_payload for n in form.needs
            ]
            found |= reached.records | kept.keys() - {part.id for part in parts}
            found |= {encode_part(part) for part in parts}
    return found


def encode_part(part: Need) -> bytes:
    return msgspec.msgpack.encode(part)


def _size(store: Store, objects: Iterable[bytes]) -> int:
    with store._meta.read() as reader:
        total = 0
        for id_ in objects:
            if len(id_) > ID_BYTES:
                part = msgspec.msgpack.decode(id_, type=Need)
                whole = find_form(reader, ChunkId(part.id))
                assert whole is not None
                total += round(whole.stored * ((part.stop - part.start) / whole.plain))
                continue
            row = reader.get(Table.RECORDS, id_)
            form = None if row is not None else find_form(reader, ChunkId(id_))
            total += len(row) if row is not None else 0 if form is None else form.stored
        return total


def _expected(store: Store, owners: dict[Owner, set[bytes]]) -> dict[Owner, tuple[int, int]]:
    found = {}
    for owner, mine in owners.items():
        others = set[bytes]().union(*(o for name, o in owners.items() if name != owner))
        found[owner] = (_size(store, mine - others), _size(store, mine & others))
    return found


def _found(usage: Usage) -> dict[Owner, tuple[int, int]]:
    return {row.owner: (row.exclusive, row.shared) for row in usage.rows}


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, dict[str, int], str]]:
    """Commits in order: the number of the parent, tensors by name, and the branch that is left."""
    commits = []
    for number in range(draw(st.integers(1, 6))):
        tensors = draw(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5), min_size=1))
        parent = draw(st.integers(-1, number - 1))
        commits.append((parent, tensors, draw(st.sampled_from(["main", "x", "y"]))))
    return commits


def _build(store: Store, history: list[tuple[int, dict[str, int], str]]) -> list[CommitId]:
    made: list[CommitId] = []
    for number, (parent, tensors, branch) in enumerate(history):
        with store.session() as session:
            tree = put_checkpoint(session, {k: _plain(v) for k, v in tensors.items()})
            parents = [made[parent]] if parent >= 0 else []
            commit = put_commit(session, tree, parents, message=f"{number}")
            publish(session, store, commit, BRANCHES + branch)
        made.append(commit)
    return made


def _ancestors(store: Store, tip: CommitId) -> set[CommitId]:
    found, stack = set(), [tip]
    while stack:
        id_ = stack.pop()
        if id_ not in found:
            found.add(id_)
            stack += store.commit(id_).parents
    return found


@settings(max_examples=40, deadline=None)
@given(histories(), st.data())
def test_every_share_is_what_the_closures_say(
    history: list[tuple[int, dict[str, int], str]], data: st.DataObject
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.create(Path(folder) / "s", head=MAIN) as store,
    ):
        made = _build(store, history)
        refs = store.refs.all()
        reachable = set().union(*(_ancestors(store, tip) for tip in refs.values()))
        gone = data.draw(st.sets(st.sampled_from(made), max_size=2))
        with store.session() as session:
            session.publish(Operation(0, 0, "forget", "", (), expired=tuple(gone)))
        closures = {c: {c} if c in gone else _closure(store, [c]) for c in reachable}
        everything = set().union(*closures.values())
        by_commit = {Owner(commit=c): found for c, found in closures.items() if c not in gone}
        by_commit[Owner()] = set(reachable & gone)
        by_branch = {
            Owner(branch=name.removeprefix(BRANCHES)): set().union(
                *(closures[c] for c in _ancestors(store, tip))
            )
            for name, tip in refs.items()
        }
        assert _found(store.usage("commit")) == _expected(store, by_commit)
        assert _found(store.usage("branch")) == _expected(store, by_branch)
        for by in ("commit", "branch", "file", "param"):
            usage = store.usage(by)
            assert usage.reachable == _size(store, everything)
            assert usage.reachable == sum(row.exclusive for row in usage.rows) + usage.shared
        _check_one_commit(store, closures, gone)


def _check_one_commit(
    store: Store, closures: dict[CommitId, set[bytes]], gone: set[CommitId]
) -> None:
    for commit in closures.keys() - gone:
        others = set().union(*(found for c, found in closures.items() if c != commit))
        checkpoint = RecordId(store.tree_of(commit).entries[0].id)
        (row,) = [r for r in store.usage("file", commit).rows if r.owner.path is not None]
        mine = _closure(store, [checkpoint])
        assert (row.exclusive, row.shared) == (
            _size(store, mine - others),
            _size(store, mine & others),
        )
        for by in ("file", "param"):
            usage = store.usage(by, commit)
            assert usage.reachable == _size(store, closures[commit])
            assert usage.elsewhere == _size(store, others - closures[commit])


def test_files_and_parameters(store: Store) -> None:
    shared, own, plain = f32(1, 300, 10), f32(2, 300, 10), b"x" * 500
    with store.session() as session:
        (one, two) = (item.id for item in session.put_tensors([("s", shared), ("o", own)]))
        inner = ParamsId(session.put_record(Params((ParamsEntry("o", TensorId(two), None),))))
        root = Params((ParamsEntry("net", TensorId(one), inner),))
        params = ParamsId(session.put_record(root))
        layout = session.put_bytes(b"layout")
        checkpoint = Checkpoint("test", 1, (File("", layout, {}),), params, {})
        model = CheckpointId(session.put_record(checkpoint))
        text = session.put_bytes(plain)
        below = TreeId(session.put_record(Tree((TreeEntry("t.txt", "blob", text),))))
        entries = (TreeEntry("m", "checkpoint", model), TreeEntry("sub", "tree", below))
        tree = TreeId(session.put_record(Tree(entries)))
        publish(session, store, put_commit(session, tree))
    owners = {
        Owner(path="m", name="net"): _closure(store, [one]),
        Owner(path="m", name="net.o"): _closure(store, [two]),
        Owner(path="m"): {params, inner, model, *_closure(store, [layout])},
        Owner(path="sub/t.txt"): _closure(store, [text]),
        Owner(): {tree, below, *store.refs.all().values()},
    }
    assert _found(store.usage("param")) == _expected(store, owners)
    files = {
        Owner(path="m"): _closure(store, [model]),
        Owner(path="sub/t.txt"): _closure(store, [text]),
        Owner(): {tree, below, *store.refs.all().values()},
    }
    assert _found(store.usage("file")) == _expected(store, files)
    assert isinstance(store.record(text), Blob)


def test_bases_of_forms_belong_to_those_who_need_them(store: Store) -> None:
    base = commit_tensors(store, {"w": f32(1, 100, 10)}, BRANCHES + "base")
    commit_tensors(store, {"w": f32(2, 100, 10)}, BRANCHES + "delta")
    (base_tensor,), (tensor,) = (
        [
            store.tensor(TensorId(RecordId(id_)))
            for id_ in _closure(store, [store.refs.all()[BRANCHES + name]])
            if store.has(RecordId(id_)) and store.record(RecordId(id_)).kind == "tensor"
        ]
        for name in ("base", "delta")
    )
    need = Need("chunk", base_tensor.chunks[0], 0, 0)
    with store._meta.write() as writer:
        form = find_form(writer, tensor.chunks[0])
        assert form is not None
        put_form(writer, tensor.chunks[0], msgspec.structs.replace(form, depth=1, needs=(need,)))
    # The same chunk under another shape is decoded from the same base.
    same = BytesSource("F32", (10, 100), f32(2, 100, 10).data)
    commit_tensors(store, {"w": same}, BRANCHES + "shape")
    found = _found(store.usage("branch"))
    size = _size(store, base_tensor.chunks)
    layout = _size(store, _closure(store, [store.checkpoint(_model(store, base)).files[0].layout]))
    assert found[Owner(branch="base")][1] == size + layout
    delta = _size(store, tensor.chunks)
    for branch in ("delta", "shape"):
        assert found[Owner(branch=branch)][1] == size + layout + delta


def _model(store: Store, commit: CommitId) -> CheckpointId:
    return CheckpointId(store.tree_of(commit).entries[0].id)


def test_a_hole_is_reported(store: Store) -> None:
    commit = commit_tensors(store, {"w": f32(1, 100, 10)})
    params = store.params(store.checkpoint(_model(store, commit)).params)
    tensor = store.tensor(TensorId(RecordId(params.entries[0].tensor or b"")))
    with store._meta.write() as writer:
        form = find_form(writer, tensor.chunks[0])
        assert form is not None
        delete_form(writer, tensor.chunks[0], form)
    with pytest.raises(MissingObject):
        store.usage("commit")


def test_a_long_history_is_counted_in_seconds(store: Store) -> None:
    """Each of 200 commits changes one of 500 tensors: the work is that of what differs."""
    with store.session() as session:
        leaves = {
            item.name: TensorId(item.id)
            for item in session.put_tensors((f"w{i:03}", _plain(i)) for i in range(500))
        }
        layout = session.put_bytes(b"layout")
        tip: list[CommitId] = []
        for number in range(200):
            new = BytesSource("I64", (1,), number.to_bytes(8, "little"))
            (item,) = session.put_tensors([("w007", new)])
            leaves["w007"] = TensorId(item.id)
            params = Params(tuple(ParamsEntry(n, i, None) for n, i in sorted(leaves.items())))
            id_ = ParamsId(session.put_record(params))
            checkpoint = Checkpoint("test", 1, (File("", layout, {}),), id_, {})
            model = CheckpointId(session.put_record(checkpoint))
            tree = TreeId(session.put_record(Tree((TreeEntry("m", "checkpoint", model),))))
            tip = [put_commit(session, tree, tip, message=str(number))]
        publish(session, store, tip[0])
    started = time.process_time()
    usage = store.usage("commit")
    assert len(usage.rows) == 201
    assert time.process_time() - started < 10
