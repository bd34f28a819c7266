"""What verbs take and return: frozen values.

Owns their shape. Must not do anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from theta.workspace import FileState
from theta_store.ids import CommitId
from theta_store.records import Commit
from theta_store.store import (
    Head,
)


@dataclass(frozen=True)
class Author:
    """Who makes a commit; ``zone`` is the offset from UTC in minutes."""

    name: str
    zone: int = 0


@dataclass(frozen=True)
class Details:
    """What a commit may say beyond its message."""

    amend: bool = False
    allow_empty: bool = False
    rehash: bool = False
    step: int | None = None
    metrics: Mapping[str, float] | None = None
    meta: Mapping[str, str] | None = None
    merged: tuple[CommitId, ...] = ()

    @property
    def may_be_empty(self) -> bool:
        """Whether a commit without a change of files is wanted."""
        return self.allow_empty or self.amend or bool(self.merged)


@dataclass(frozen=True)
class Committed:
    """A new commit, and what it cost."""

    id: CommitId
    commit: Commit
    branch: str | None
    stored_bytes: int
    logical_bytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """The workspace against HEAD."""

    head: Head
    files: tuple[FileState, ...]
    untracked: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every checked-out file is as HEAD has it."""
        return all(file.state == "not checked out" for file in self.files)


@dataclass(frozen=True)
class Moved:
    """Where HEAD went, and the files written by it."""

    head: Head
    written: tuple[str, ...]
