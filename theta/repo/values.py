"""What verbs take and return: frozen values.

Owns their shape. Must not do anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from theta.workspace import FileState
from theta_store.ids import CommitId
from theta_store.records import Commit
from theta_store.store import Head, Operation

if TYPE_CHECKING:
    from theta.merge import Conflict, Resolution
    from theta_store.timings import Timings


@dataclass(frozen=True)
class Author:
    """Who makes a commit; ``zone`` is the offset from UTC in minutes."""

    name: str
    zone: int = 0


@dataclass(frozen=True)
class Details:
    """What a commit may say beyond its message.

    ``branch`` is made or goes on while HEAD stays; ``as_name`` is where the one given file or
    folder goes; ``guards`` (``finite``) refuse a commit for its values.
    """

    amend: bool = False
    allow_empty: bool = False
    rehash: bool = False
    step: int | None = None
    metrics: Mapping[str, float] | None = None
    meta: Mapping[str, str] | None = None
    branch: str | None = None
    as_name: str | None = None
    guards: tuple[str, ...] = ()

    @property
    def may_be_empty(self) -> bool:
        """Whether a commit without a change of files is wanted."""
        return self.allow_empty or self.amend

    def inherited(self, old: Commit | None) -> "Details":
        """Return the details of a commit that replaces ``old``: what is not given stays."""
        if old is None:
            return self
        step = old.step if self.step is None else self.step
        metrics = {**old.metrics, **(self.metrics or {})}
        return replace(self, step=step, metrics=metrics, meta={**old.meta, **(self.meta or {})})


@dataclass(frozen=True)
class Committed:
    """A new commit, and what it cost; ``timings`` only if they were asked for."""

    id: CommitId
    commit: Commit
    branch: str | None
    stored_bytes: int
    logical_bytes: int
    warnings: tuple[str, ...] = ()
    timings: "Timings | None" = None


@dataclass(frozen=True)
class Status:
    """The workspace against HEAD."""

    head: Head
    files: tuple[FileState, ...]
    untracked: tuple[str, ...]
    merging: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every checked-out file is as HEAD has it."""
        return all(file.state == "not checked out" for file in self.files)


@dataclass(frozen=True)
class Moved:
    """Where HEAD went, and the files written and removed by it."""

    head: Head
    written: tuple[str, ...]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collected:
    """What gc removed, or would, and the commits whose files were given up for it.

    ``stored_bytes`` are bytes of forms, ``disk_bytes`` what the disk gets back.
    """

    records: int
    chunks: int
    stored_bytes: int
    disk_bytes: int
    expired: tuple[CommitId, ...] = ()


@dataclass(frozen=True)
class Restored:
    """The files written, and the parameters put into them as ``FILE::PARAM``.

    ``undoable``: something was overwritten, which undo brings back.
    """

    written: tuple[str, ...]
    params: tuple[str, ...] = ()
    undoable: bool = False


@dataclass(frozen=True)
class Applied:
    """The checkpoint that took an update, its parameters that changed, and the update's rank.

    ``base_model`` is what the update says it was trained on; empty where it does not.
    ``stored_bytes`` are what it takes in the store.
    """

    path: str
    params: tuple[str, ...]
    rank: int
    base_model: str
    stored_bytes: int = 0


@dataclass(frozen=True)
class Undone:
    """An operation taken back or brought again, and what became of the files.

    ``kept`` are files that held unsaved changes and were left as they are.
    """

    operation: Operation
    head: Head
    written: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class MergeAnswer:
    """What came of a merge: a commit, a merge that waits, or conflicts that are left.

    ``state`` is one of ``up to date``, ``fast-forward``, ``merged``, ``waiting``, ``conflicts``.
    ``notices`` say what was settled in a way that nobody asked for; ``reused`` tensors are from an
    earlier try that was interrupted.
    """

    state: str
    commit: CommitId | None
    conflicts: "tuple[Conflict, ...]" = ()
    resolved: "tuple[Resolution, ...]" = ()
    stored_bytes: int = 0
    written: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    reused: int = 0
