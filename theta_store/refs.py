"""Names that move: branches, tags and HEAD.

Owns the table ``refs`` and the compare-and-set that makes a commit exist. Must not know commits'
contents, nor who is asking.

A value is one tag byte, then a commit's id (0) or the full name of another ref (1, HEAD only).
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from theta_store.db import Reader, Table, Writer
from theta_store.errors import IntegrityError, RefMoved
from theta_store.ids import ID_BYTES, CommitId, RecordId, short
from theta_store.sealed import seal, unseal

HEAD = "HEAD"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"

Target: TypeAlias = CommitId | str


class RefChange(msgspec.Struct, frozen=True):
    """One ref's move from ``old`` to ``new``; None means that the ref does not exist."""

    name: str
    old: Target | None
    new: Target | None

    def reversed(self) -> "RefChange":
        """Return the move back."""
        return RefChange(self.name, self.new, self.old)


class Head(msgspec.Struct, frozen=True):
    """Where HEAD is: on a branch (its full name), or detached; ``commit`` is None when unborn."""

    branch: str | None
    commit: CommitId | None


def read_ref(reader: Reader, name: str) -> Target | None:
    """Return what a ref points to, its seal verified."""
    row = reader.get(Table.REFS, name.encode())
    if row is None:
        return None
    return decode_target(unseal(Table.REFS, name.encode(), row))


def encode_target(target: Target) -> bytes:
    """Return a target's tag byte and body."""
    return b"\x01" + target.encode() if isinstance(target, str) else b"\x00" + target


def decode_target(value: bytes) -> Target:
    """Read a tag byte and a body."""
    match value[:1]:
        case b"\x00" if len(value) == 1 + ID_BYTES:
            return CommitId(RecordId(value[1:]))
        case b"\x01":
            return _name(value[1:])
    raise IntegrityError("a ref holds no target", hint="theta fsck")


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise IntegrityError(f"the name of a ref is damaged: {key!r}", hint="theta fsck") from None


def read_refs(reader: Reader, prefix: str) -> dict[str, CommitId]:
    """Return the refs below a prefix, in the order of their names."""
    found: dict[str, CommitId] = {}
    for key in reader.keys(Table.REFS, prefix.encode()):
        name = _name(key)
        if not name.startswith(prefix):
            break
        target = read_ref(reader, name)
        if isinstance(target, bytes):
            found[name] = target
    return found


def read_head(reader: Reader) -> Head:
    """Return where HEAD is."""
    target = read_ref(reader, HEAD)
    if isinstance(target, str):
        commit = read_ref(reader, target)
        return Head(target, commit if isinstance(commit, bytes) else None)
    return Head(None, target)


def move_refs(writer: Writer, changes: Iterable[RefChange]) -> None:
    """Move refs if each is where its change says; else `RefMoved` and nothing is changed."""
    for change in changes:
        actual = read_ref(writer, change.name)
        if actual != change.old:
            raise RefMoved(
                f"{change.name} moved meanwhile: {_spell(change.old)} was expected, "
                f"{_spell(actual)} is there; nothing was changed",
                hint="look at theta log, then retry",
            )
        _write(writer, change.name, change.new)


def _write(writer: Writer, name: str, target: Target | None) -> None:
    key = name.encode()
    if target is None:
        writer.delete(Table.REFS, key)
        return
    writer.put(Table.REFS, key, seal(Table.REFS, key, encode_target(target)))


def _spell(target: Target | None) -> str:
    if target is None:
        return "no commit"
    return target if isinstance(target, str) else short(target)
