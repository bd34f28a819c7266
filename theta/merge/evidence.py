"""What is known of the data behind each side of a merge: statistics, as they lie in the store.

Owns the shape of a commit of statistics, and the reading of one parameter of it. Must not know
refs: which commit has the statistics of which side is given.

Such a commit has, for each model and at its path, a checkpoint with one tensor for each parameter
that the statistic is known of. Its message is the `Account` of it, as canonical JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from theta.diff import flatten_tree
from theta.params import find
from theta.strategies.values import Floats
from theta_store.arithmetic import widen
from theta_store.dtypes import dtype
from theta_store.errors import IntegrityError, UsageError
from theta_store.ids import CheckpointId, CommitId, TensorId
from theta_store.records import Commit, Tensor
from theta_store.store import Store

# Counts the rules by which statistics are computed and summed.
CODE = "statistics/1"


class Note(msgspec.Struct, frozen=True):
    """How the statistic of one model was made.

    Values are means over ``examples``; ``norm`` is the L2 norm over all parameters. ``labels``: of
    Fisher information, over which labels it was taken, if that is known. ``source`` is for people.
    """

    examples: int
    norm: float
    source: str
    labels: str | None = None
    normaliser: str = "mean"


class Account(msgspec.Struct, frozen=True):
    """What a commit of statistics says of itself; ``code`` is by which rules it was made."""

    kind: str
    models: dict[str, Note]
    code: str = CODE
    version: int = 1

    def text(self) -> str:
        """Return canonical JSON: sorted keys, no spaces."""
        return json.dumps(
            msgspec.to_builtins(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )


def account_of(commit: Commit) -> Account:
    """Return what a commit of statistics says; anything else is an `IntegrityError`."""
    try:
        return msgspec.json.decode(commit.message, type=Account)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"a statistic is damaged: {error}", hint="theta fsck") from None


@dataclass(frozen=True)
class StoredEvidence:
    """A statistic of one side's parameter; see `theta.strategies.values.Evidence`."""

    store: Store
    id: TensorId
    norm: float = 1.0

    @cached_property
    def tensor(self) -> Tensor:
        """The record."""
        return self.store.tensor(self.id)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the statistic."""
        return self.tensor.shape

    def read(self, start: int, stop: int) -> Floats:
        """Return the elements from ``start`` to ``stop``, flat."""
        record = self.tensor
        row = dtype(record.dtype)
        plain = bytearray((stop - start) * row.nbytes)
        self.store.read_range(record, start * row.nbytes, memoryview(plain))
        return widen(memoryview(plain), row)


def find_evidence(store: Store, commit: CommitId, path: str, name: str) -> StoredEvidence | None:
    """Return what a commit of statistics has of a parameter of the model at ``path``."""
    record = store.commit(commit)
    note = account_of(record).models.get(path)
    entry = dict(flatten_tree(store, record.tree)).get(path)
    if entry is None or note is None:
        return None
    found = store.checkpoint(CheckpointId(entry.id))
    id_ = find(store, found.params, found.aliases.get(name, name))
    return None if id_ is None else StoredEvidence(store, id_, note.norm)


@dataclass(frozen=True)
class Knowledge:
    """What is known of one parameter: the sides that changed it, and their statistics by kind.

    ``labels`` are what the sides are called; ``commits`` have None where a side has no statistic.
    """

    store: Store
    path: str
    name: str
    labels: tuple[str, ...]
    commits: Mapping[str, tuple[CommitId | None, ...]]

    def of(self, kind: str) -> tuple[StoredEvidence, ...]:
        """Return a statistic of each side; a `UsageError` names the side that has none."""
        found = []
        commits = self.commits.get(kind) or (None,) * len(self.labels)
        for label, commit in zip(self.labels, commits, strict=True):
            if commit is None:
                raise UsageError(
                    f"{label} has no {kind}, which {self.path}::{self.name} is to be merged by",
                    hint=f"theta stats add {kind} FILE {label}",
                )
            one = find_evidence(self.store, commit, self.path, self.name)
            if one is None:
                raise UsageError(
                    f"the {kind} of {label} has no {self.path}::{self.name}",
                    hint=f"theta stats add {kind} FILE {label}, or --rule '{self.name} average'",
                )
            found.append(one)
        return tuple(found)

    def ids(self, kind: str) -> list[str]:
        """Return the ids of a statistic's tensors as hex, empty where there is none."""
        commits = self.commits.get(kind, ())
        found = (c and find_evidence(self.store, c, self.path, self.name) for c in commits)
        return [one.id.hex() if one else "" for one in found]
