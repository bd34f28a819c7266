"""Files of a sharded model that need not be written, or may be: states of a model, file by file.

Owns the comparison of two states. Must not read any file: what lies on disk is known from the stat
cache, or was read before.
"""

from collections.abc import Callable, Collection, Mapping

import msgspec

from theta.checkpoint import Reader, named_in
from theta.params import flatten
from theta.workspace.checkout import part_path
from theta_store.errors import MissingObject
from theta_store.ids import CheckpointId, RecordId, TensorId
from theta_store.records import File, TreeEntry
from theta_store.store import Store

# What the file at a path was when it was last looked at; None where it has changed since.
Seen = Callable[[str], TreeEntry | None]


class _Model(msgspec.Struct, frozen=True):
    """What the bytes of a model's files follow from."""

    files: Mapping[str, File]
    tensors: Mapping[str, TensorId]

    @classmethod
    def of(cls, reader: Reader, path: str, id_: RecordId) -> "_Model":
        record = reader.checkpoint(CheckpointId(id_))
        files = {part_path(path, file): file for file in record.files}
        return cls(files, dict(flatten(reader, record.params)))

    def has(self, part: str, names: frozenset[str], other: "_Model") -> bool:
        """Say whether another model's file at a path, made of these tensors, is this one's too."""
        return self.files[part] == other.files.get(part) and all(
            self.tensors[name] == other.tensors.get(name) for name in names
        )


def staying(
    store: Store, path: str, entry: TreeEntry, seen: Seen, reader: Reader | None = None
) -> frozenset[str]:
    """Return the paths of a sharded model's files that are on disk as ``entry`` has them.

    ``reader`` has the records of what was seen, where the store need not have them.
    """
    if entry.kind != "checkpoint" or len(store.checkpoint(CheckpointId(entry.id)).files) == 1:
        return frozenset()
    model = _Model.of(store, path, entry.id)
    before: dict[RecordId, _Model] = {}
    found = set()
    for part, file in model.files.items():
        was = seen(part)
        if was is None or (was.kind, was.executable) != (entry.kind, entry.executable):
            continue
        if was.id not in before:
            before[was.id] = _before(reader or store, path, was.id)
        if model.has(part, named_in(store, file), before[was.id]):
            found.add(part)
    return frozenset(found)


def is_mixture(
    store: Store, path: str, now: TreeEntry, sides: Collection[TreeEntry], reader: Reader
) -> bool:
    """Say whether each file of a sharded model is one side's, as a move that was cut short leaves.

    ``reader`` has the records of what is there now; the sides are stored.
    """
    if any((side.kind, side.executable) != ("checkpoint", now.executable) for side in sides):
        return False
    if now.kind != "checkpoint" or len(reader.checkpoint(CheckpointId(now.id)).files) == 1:
        return False
    model = _Model.of(reader, path, now.id)
    states = [_Model.of(store, path, side.id) for side in sides]
    return all(
        any(
            file == state.files.get(part) and state.has(part, named_in(store, file), model)
            for state in states
        )
        for part, file in model.files.items()
    )


def _before(reader: Reader, path: str, id_: RecordId) -> _Model:
    try:
        return _Model.of(reader, path, id_)
    except MissingObject:
        return _Model({}, {})
