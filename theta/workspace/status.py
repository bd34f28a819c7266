"""What differs between HEAD and the files on disk.

Owns the states of files and of their parameters. Must not read files: entries are given.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol

import msgspec

from theta.diff import classify, diff_params
from theta_store.ids import CheckpointId, ParamsId, RecordId, TensorId
from theta_store.records import Checkpoint, Params, Record, Tensor, TreeEntry

State = Literal["added", "changed", "deleted", "not checked out"]


class ParamState(msgspec.Struct, frozen=True):
    """One parameter that differs: added, removed, dtype, shape or changed."""

    name: str
    change: str


class FileState(msgspec.Struct, frozen=True):
    """One entry that differs, with the parameters that do."""

    path: str
    state: State
    params: tuple[ParamState, ...] = ()


class Records(Protocol):
    """Where records are read: the store, or a dry run over it."""

    def record(self, id_: RecordId) -> Record:
        """Return a record."""


class ParamReader(msgspec.Struct, frozen=True):
    """Typed reads over `Records`, as `theta.diff` wants them."""

    records: Records

    def tensor(self, id_: TensorId) -> Tensor:
        """Return a tensor's record."""
        record = self.records.record(id_)
        assert isinstance(record, Tensor)
        return record

    def tensors(self, ids: Iterable[TensorId]) -> list[Tensor]:
        """Return the records of tensors."""
        return [self.tensor(id_) for id_ in ids]

    def params(self, id_: ParamsId) -> Params:
        """Return a node of a parameter tree."""
        record = self.records.record(id_)
        assert isinstance(record, Params)
        return record

    def nodes(self, ids: Iterable[ParamsId]) -> list[Params]:
        """Return nodes of a parameter tree."""
        return [self.params(id_) for id_ in ids]

    def checkpoint(self, id_: CheckpointId) -> Checkpoint:
        """Return a checkpoint."""
        record = self.records.record(id_)
        assert isinstance(record, Checkpoint)
        return record


def compare(
    records: Records,
    head: Mapping[str, TreeEntry],
    present: Mapping[str, TreeEntry],
    absent: frozenset[str],
) -> Iterator[FileState]:
    """Yield what differs, by path; ``absent`` are files of HEAD that were never checked out."""
    reader = ParamReader(records)
    for path in sorted(head.keys() | present.keys()):
        before, after = head.get(path), present.get(path)
        if before == after:
            continue
        if after is None:
            yield FileState(path, "not checked out" if path in absent else "deleted")
        elif before is None:
            yield FileState(path, "added")
        else:
            yield FileState(path, "changed", tuple(_params(reader, before, after)))


def _params(reader: ParamReader, before: TreeEntry, after: TreeEntry) -> Iterator[ParamState]:
    if before.kind != "checkpoint" or after.kind != "checkpoint":
        return
    old = reader.checkpoint(CheckpointId(before.id)).params
    new = reader.checkpoint(CheckpointId(after.id)).params
    for change in diff_params(reader, old, new):
        yield ParamState(change.name, classify(reader, change))
