"""What verbs take and return: frozen values.

Owns their shape, and what a commit's record may be told: whoever makes a value of another type
hears of it here, before anything is stored that could not be read. Must not do anything else.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import force_setattr, replace

from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.merge import Conflict, Resolution
    from theta.workspace import FileState
    from theta_store.ids import CommitId
    from theta_store.records import Commit
    from theta_store.store import Head, Operation
    from theta_store.timings import Timings


# A record's number is 64 bits wide, and no zone is a whole day from UTC.
_INTEGERS = range(-(2**63), 2**63)
_ZONES = range(-24 * 60 + 1, 24 * 60)


def checked_text(what: str, value: object) -> str:
    """Return text that a record can hold, numpy's included; else a `UsageError` for the field."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is {_kind(value)}: text is expected")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} = {value!r} is not valid UTF-8") from None
    return str.__str__(value)


def listed(names: str | Sequence[str]) -> Sequence[str]:
    """Return names as several; a single one may be given by itself."""
    return (names,) if isinstance(names, str) else names


def check_author(author: object) -> None:
    """Refuse what is no author."""
    if not isinstance(author, Author):
        raise UsageError(
            f"the author is {_kind(author)}: an Author is expected",
            hint='Author("Name <mail>")',
        )


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def _whole(what: str, value: Any, allowed: range) -> int:
    """Return a whole number, numpy's and torch's included."""
    try:
        # True is 1 to Python, and never meant.
        number = None if _is_bool(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise UsageError(f"{what} is {_kind(value)}: a whole number is expected")
    if number not in allowed:
        raise UsageError(f"{what} = {number} is out of range")
    return number


def _number(what: str, value: Any) -> float:
    """Return a finite number or NaN, numpy's and torch's included."""
    try:
        number = float(value) if hasattr(value, "__float__") and not _is_bool(value) else None
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise UsageError(f"{what} is {_kind(value)}: a number is expected")
    if math.isinf(number):
        raise UsageError(f"{what} = {number}: a metric is finite or nan")
    return number


def _is_bool(value: object) -> bool:
    return type(value).__name__ in {"bool", "bool_"}


def _items(what: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is {_kind(value)}: a mapping of names is expected")
    return [(checked_text(f"a name in {what}", name), item) for name, item in value.items()]


class Author(msgspec.Struct, frozen=True):
    """Who makes a commit; ``zone`` is the offset from UTC in minutes."""

    name: str
    zone: int = 0

    def __post_init__(self) -> None:
        force_setattr(self, "name", checked_text("the author's name", self.name))
        force_setattr(self, "zone", _whole("the author's zone", self.zone, _ZONES))


class Details(msgspec.Struct, frozen=True):
    """What a commit may say beyond its message.

    ``branch`` is made or goes on while HEAD stays; ``as_name`` is where the one given file or
    folder goes; ``guards`` (``finite``) refuse a commit for its values. A step is a whole number,
    a metric finite or NaN, meta is text; anything else is a `UsageError`.
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

    def __post_init__(self) -> None:
        for what in ("branch", "as_name"):
            if getattr(self, what) is not None:
                checked_text(what, getattr(self, what))
        if self.step is not None:
            force_setattr(self, "step", _whole("step", self.step, _INTEGERS))
        if self.metrics is not None:
            metrics = _items("metrics", self.metrics)
            numbers = {name: _number(f"metrics[{name!r}]", value) for name, value in metrics}
            force_setattr(self, "metrics", numbers)
        if self.meta is not None:
            meta = _items("meta", self.meta)
            texts = {name: checked_text(f"meta[{name!r}]", value) for name, value in meta}
            force_setattr(self, "meta", texts)

    @property
    def may_be_empty(self) -> bool:
        """Whether a commit without a change of files is wanted."""
        return self.allow_empty or self.amend

    @property
    def is_plain(self) -> bool:
        """Whether HEAD gets the tracked files, and only if one has changed."""
        return not (self.may_be_empty or self.rehash or self.branch or self.as_name)

    def inherited(self, old: "Commit | None") -> "Details":
        """Return the details of a commit that replaces ``old``: what is not given stays."""
        if old is None:
            return self
        made = replace(self, step=None, metrics=None, meta=None)
        # Not as new ones: what an old commit has may be what nobody may say any more.
        force_setattr(made, "step", old.step if self.step is None else self.step)
        force_setattr(made, "metrics", {**old.metrics, **(self.metrics or {})})
        force_setattr(made, "meta", {**old.meta, **(self.meta or {})})
        return made


class Committed(msgspec.Struct, frozen=True):
    """A new commit, and what it cost; ``timings`` only if they were asked for."""

    id: "CommitId"
    commit: "Commit"
    branch: str | None
    stored_bytes: int
    logical_bytes: int
    warnings: tuple[str, ...] = ()
    timings: "Timings | None" = None


class Status(msgspec.Struct, frozen=True):
    """The workspace against HEAD."""

    head: "Head"
    files: "tuple[FileState, ...]"
    untracked: tuple[str, ...]
    merging: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every checked-out file is as HEAD has it."""
        return all(file.state == "not checked out" for file in self.files)


class Moved(msgspec.Struct, frozen=True):
    """Where HEAD went, and the files written and removed by it."""

    head: "Head"
    written: tuple[str, ...]
    removed: tuple[str, ...] = ()


class Collected(msgspec.Struct, frozen=True):
    """What gc removed, or would, and the commits whose files were given up for it.

    ``stored_bytes`` are bytes of forms, ``disk_bytes`` what the disk gets back. ``base_bytes``
    stay, though no kept commit reads them: what these read is stored as differences to them.
    ``idle_bytes`` of the store's files hold nothing and wait for the next commits, since the disk
    has less than the ``room_bytes`` that giving them back takes.
    """

    records: int
    chunks: int
    stored_bytes: int
    disk_bytes: int
    base_bytes: int
    expired: "tuple[CommitId, ...]" = ()
    idle_bytes: int = 0
    room_bytes: int = 0


class Restored(msgspec.Struct, frozen=True):
    """The files written, and the parameters put into them as ``FILE::PARAM``.

    ``undoable``: something was overwritten, which undo brings back.
    """

    written: tuple[str, ...]
    params: tuple[str, ...] = ()
    undoable: bool = False


class Applied(msgspec.Struct, frozen=True):
    """The checkpoint that took an update, its parameters that changed, and the update's rank.

    ``base_model`` is what the update says it was trained on; empty where it does not.
    ``stored_bytes`` are what it takes in the store.
    """

    path: str
    params: tuple[str, ...]
    rank: int
    base_model: str
    stored_bytes: int = 0


class Undone(msgspec.Struct, frozen=True):
    """An operation taken back or brought again, and what became of the files.

    ``kept`` are files that held unsaved changes and were left as they are; ``notices`` say what
    does not come back by it.
    """

    operation: "Operation"
    head: "Head"
    written: tuple[str, ...]
    kept: tuple[str, ...]
    notices: tuple[str, ...] = ()


class MergeAnswer(msgspec.Struct, frozen=True):
    """What came of a merge: a commit, a merge that waits, or conflicts that are left.

    ``state`` is one of ``up to date``, ``fast-forward``, ``merged``, ``waiting``, ``conflicts``.
    ``notices`` say what was settled in a way that nobody asked for; ``reused`` tensors are from an
    earlier try that was interrupted.
    """

    state: str
    commit: "CommitId | None"
    conflicts: "tuple[Conflict, ...]" = ()
    resolved: "tuple[Resolution, ...]" = ()
    stored_bytes: int = 0
    written: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    reused: int = 0
