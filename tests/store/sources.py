"""Arrays as sources and sinks of the store, and the smallest commit around them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from theta_store.ids import CheckpointId, CommitId, ParamsId, TensorId, TreeId
from theta_store.records import Checkpoint, Commit, File, Params, ParamsEntry, Tree, TreeEntry
from theta_store.store import BRANCHES, Operation, RefChange, Session, Store

MAIN = BRANCHES + "main"


@dataclass(frozen=True)
class BytesSource:
    """Plain bytes under a dtype and a shape."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def read_into(self, start: int, out: memoryview) -> None:
        out[:] = memoryview(self.data)[start : start + len(out)]


class BytesSink:
    """Collects what arrives and counts each byte."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.seen = np.zeros(size, np.uint8)

    def write(self, start: int, plain: memoryview) -> None:
        self.data[start : start + len(plain)] = plain
        self.seen[start : start + len(plain)] += 1


def noise(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def f32(seed: int, *shape: int) -> BytesSource:
    values = np.random.default_rng(seed).standard_normal(shape).astype("<f4")
    return BytesSource("F32", shape, values.tobytes())


def put_checkpoint(
    session: Session, tensors: Mapping[str, BytesSource], name: str = "model.bin"
) -> TreeId:
    stored = sorted(session.put_tensors(tensors.items()), key=lambda item: item.name.encode())
    entries = tuple(ParamsEntry(item.name, TensorId(item.id), None) for item in stored)
    params = ParamsId(session.put_record(Params(entries)))
    layout = session.put_bytes(b"layout of " + name.encode())
    checkpoint = Checkpoint("test", 1, (File("", layout, {}),), params, {})
    id_ = CheckpointId(session.put_record(checkpoint))
    return TreeId(session.put_record(Tree((TreeEntry(name, "checkpoint", id_),))))


def put_commit(
    session: Session, tree: TreeId, parents: Iterable[CommitId] = (), message: str = "m"
) -> CommitId:
    commit = Commit(tree, tuple(parents), "Ada <a@b>", 1_700_000_000_000_000, 0, message)
    return CommitId(session.put_record(commit))


def publish(session: Session, store: Store, commit: CommitId, ref: str = MAIN) -> Operation:
    change = RefChange(ref, store.refs.get(ref), commit)
    operation = Operation(0, 0, "commit", "a commit", (change,))
    return session.publish(operation, commits=[commit])


def commit_tensors(
    store: Store, tensors: Mapping[str, BytesSource], ref: str = MAIN, message: str = "m"
) -> CommitId:
    with store.session() as session:
        tree = put_checkpoint(session, tensors)
        parent = store.refs.get(ref)
        commit = put_commit(session, tree, [] if parent is None else [parent], message)
        publish(session, store, commit, ref)
    return commit


def read_back(store: Store, commit: CommitId) -> dict[str, bytes]:
    """Return the plain bytes of every tensor of a commit made by `commit_tensors`."""
    entry = store.tree_of(commit).entries[0]
    params = store.params(store.checkpoint(CheckpointId(entry.id)).params)
    records = {leaf.component: store.tensor(leaf.tensor) for leaf in params.entries if leaf.tensor}
    sinks = {name: BytesSink(record.nbytes) for name, record in records.items()}
    store.read_into([(records[name], sinks[name]) for name in records])
    assert all((sink.seen == 1).all() for sink in sinks.values())
    return {name: bytes(sink.data) for name, sink in sinks.items()}


def tree_of_tensor(session: Session, tensor: TensorId) -> TreeId:
    """Return a folder with one checkpoint that holds one tensor."""
    params = ParamsId(session.put_record(Params((ParamsEntry("w", tensor, None),))))
    files = (File("", session.put_bytes(b"layout"), {}),)
    id_ = CheckpointId(session.put_record(Checkpoint("test", 1, files, params, {})))
    return TreeId(session.put_record(Tree((TreeEntry("m", "checkpoint", id_),))))
