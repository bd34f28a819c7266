"""Checkpoints as records: their parameters by name, and the same file with other tensors.

Owns what it takes for tensors to fit a layout, and the records that put them there. Must not know
refs, the workspace, nor why tensors are exchanged.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from theta.formats import format_by_id
from theta.params import build_params, flatten
from theta_store.errors import UsageError
from theta_store.ids import CheckpointId, ParamsId, TensorId
from theta_store.records import Checkpoint, File, Params, Tensor, TreeEntry
from theta_store.store import Putter, Store

SHOWN = 5


class Reader(Protocol):
    """Where records are read: the store, or a dry run over it."""

    def checkpoint(self, id_: CheckpointId) -> Checkpoint:
        """Return a checkpoint."""

    def params(self, id_: ParamsId) -> Params:
        """Return a node of a parameter tree."""

    def nodes(self, ids: Sequence[ParamsId]) -> Sequence[Params]:
        """Return nodes of a parameter tree."""

    def tensor(self, id_: TensorId) -> Tensor:
        """Return a tensor's record."""

    def tensors(self, ids: Iterable[TensorId]) -> Sequence[Tensor]:
        """Return the records of tensors."""


def named_leaves(reader: Reader, entry: TreeEntry) -> dict[str, TensorId]:
    """Return every parameter of a checkpoint, tied names included."""
    record = reader.checkpoint(CheckpointId(entry.id))
    leaves = dict(flatten(reader, record.params))
    return leaves | {alias: leaves[name] for alias, name in record.aliases.items()}


def fits(reader: Reader, record: Checkpoint, leaves: Mapping[str, TensorId]) -> bool:
    """Say whether these parameters have the names, dtypes, shapes and ties of a checkpoint."""
    own = dict(flatten(reader, record.params))
    if own.keys() | record.aliases.keys() != leaves.keys():
        return False
    if any(leaves[alias] != leaves[name] for alias, name in record.aliases.items()):
        return False
    return all(same_spec(reader, id_, leaves[name]) for name, id_ in own.items())


def same_spec(reader: Reader, one: TensorId, two: TensorId) -> bool:
    """Say whether two tensors have the same dtype and shape."""
    return one == two or _spec(reader.tensor(one)) == _spec(reader.tensor(two))


def _spec(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tensor.shape


def in_layout(
    putter: Putter, entry: TreeEntry, record: Checkpoint, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of the same files with these tensors, which must fit."""
    own = {name: id_ for name, id_ in leaves.items() if name not in record.aliases}
    params = build_params(own, putter)
    made = Checkpoint(record.format, record.format_version, record.files, params, record.aliases)
    id_ = CheckpointId(putter.put_record(made))
    return TreeEntry(entry.name, "checkpoint", id_, entry.executable)


def transplanted(
    reader: Reader, putter: Putter, path: str, entry: TreeEntry, donors: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of the same files with some tensors replaced, by name.

    All that do not fit (no such parameter, another dtype or shape, tied to one that stays as it is)
    are named by one `UsageError`; ``path`` is for its message.
    """
    record = reader.checkpoint(CheckpointId(entry.id))
    old = named_leaves(reader, entry)
    new = {**old, **donors}
    wrong = [f"{name} is not in it" for name in donors if name not in old]
    for name, donor in donors.items():
        if name in old and not same_spec(reader, old[name], donor):
            here, there = (spelled(*_spec(reader.tensor(id_))) for id_ in (old[name], donor))
            wrong.append(f"{name} is {here} there, not {there}")
    for alias, name in record.aliases.items():
        if new[alias] != new[name]:
            wrong.append(f"{alias} is tied to {name}, which would differ")
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UsageError(
            f"{path} cannot take them: {'; '.join(wrong[:SHOWN])}{more}; nothing was changed"
        )
    return in_layout(putter, entry, record, new)


def spelled(dtype: str, shape: Sequence[int]) -> str:
    """Return a tensor's dtype and shape as people read them."""
    return f"{dtype} {'×'.join(map(str, shape)) or 'scalar'}"


def exchanged(
    store: Store,
    putter: Putter,
    now: TreeEntry,
    other: TreeEntry,
    taken: Collection[str],
) -> TreeEntry | None:
    """Return the entry of a model that takes some files, by their paths in it, of another one.

    None where that is no model: they are not cut into files of the same names, or the files that
    come together have a parameter twice.
    """
    if now.kind != "checkpoint" or other.kind != "checkpoint":
        return None
    sides = [store.checkpoint(CheckpointId(entry.id)) for entry in (now, other)]
    names = [dict(flatten(store, side.params)) for side in sides]
    files, leaves, aliases = [], dict[str, TensorId](), dict[str, str]()
    for pair in itertools.zip_longest(*(side.files for side in sides)):
        if None in pair or pair[0].path != pair[1].path:
            return None
        side = 1 if pair[1].path in taken else 0
        own = {name: names[side][name] for name in named_in(store, pair[side])}
        if leaves.keys() & own.keys():
            return None
        files.append(pair[side])
        leaves |= own
        aliases |= {a: name for a, name in sides[side].aliases.items() if name in own}
    params = build_params(leaves, putter)
    made = Checkpoint(sides[0].format, sides[0].format_version, tuple(files), params, aliases)
    id_ = CheckpointId(putter.put_record(made))
    return TreeEntry(now.name, "checkpoint", id_, now.executable)


def named_in(store: Store, file: File) -> frozenset[str]:
    """Return the parameters that have bytes in a file."""
    from theta.formats.layout import Scatter, Span, decode_layout

    segments = decode_layout(store.read_bytes(file.layout)).segments
    return frozenset(s.name for s in segments if isinstance(s, Span | Scatter))


def composed(
    reader: Reader, putter: Putter, entry: TreeEntry, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of these tensors in a new file of its format; ties that hold are kept."""
    from theta.formats.base import TensorSpec
    from theta.formats.layout import encode_layout

    old = reader.checkpoint(CheckpointId(entry.id))
    aliases = {a: n for a, n in old.aliases.items() if leaves.get(a) == leaves.get(n)}
    own = {name: id_ for name, id_ in leaves.items() if name not in aliases}
    tensors = dict(zip(own, reader.tensors(own.values()), strict=True))
    specs = [TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()]
    format_ = format_by_id(old.format)
    layout = format_.compose(specs, metadata={}, aliases=aliases)
    file = File("", putter.put_bytes(encode_layout(layout)), {})
    params = build_params(own, putter)
    made = Checkpoint(format_.id, format_.version, (file,), params, aliases)
    id_ = CheckpointId(putter.put_record(made))
    return TreeEntry(entry.name, "checkpoint", id_, entry.executable)
