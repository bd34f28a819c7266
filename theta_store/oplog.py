"""The operation log: every atomic change of refs and expiries, undoable in constant time.

Owns the table ``operations`` and the order in which undo and redo walk it. Must not know the
workspace nor what a verb did beyond its moves.

The log only grows; an undo is an operation of its own. Each operation carries where undo and redo
stand after it, so neither has to search:

- ``undo``: the operation that the next undo takes back (0: none); ``below``: what ``undo``
  becomes once this one is taken back;
- ``redo``: the operation that the next redo brings again (0: none); ``above``: the operation
  whose ``redo`` and ``above`` hold after that.
"""

import time
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from theta_store.db import Reader, Table, Writer
from theta_store.errors import MalformedRecord, NotFound
from theta_store.ids import CommitId
from theta_store.refs import RefChange, Target, decode_target, encode_target
from theta_store.sealed import seal, unseal

ROW_VERSION = 1
KEY_BYTES = 8


class Operation(msgspec.Struct, frozen=True):
    """One atomic change; ``time`` is microseconds since 1970 in UTC, set by the log when 0.

    ``wrote`` says that the workspace's files followed HEAD, so that undo takes them back as well;
    ``saved`` is a commit, named by no ref, of the files that the operation overwrote by force.
    """

    number: int
    time: int
    verb: str
    summary: str
    changes: tuple[RefChange, ...]
    expired: tuple[CommitId, ...] = ()
    revived: tuple[CommitId, ...] = ()
    saved: CommitId | None = None
    wrote: bool = False
    undo: int = 0
    below: int = 0
    redo: int = 0
    above: int = 0


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is on disk; targets of refs in the spelling of the table ``refs``."""

    number: int
    time: int
    verb: str
    summary: str
    changes: tuple[tuple[str, bytes | None, bytes | None], ...]
    expired: tuple[CommitId, ...]
    revived: tuple[CommitId, ...]
    saved: CommitId | None
    wrote: bool
    undo: int
    below: int
    redo: int
    above: int


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(_Row)
_NONE = Operation(0, 0, "", "", ())


def _key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


def find_operation(reader: Reader, number: int) -> Operation | None:
    """Return one operation, its seal verified."""
    row = reader.get(Table.OPERATIONS, _key(number))
    return None if row is None else _decode(_key(number), row)


def last_operation(reader: Reader) -> Operation | None:
    """Return the newest operation."""
    item = reader.last(Table.OPERATIONS)
    return None if item is None else _decode(*item)


def operations(reader: Reader) -> Iterator[Operation]:
    """Yield operations from the newest to the oldest."""
    current = last_operation(reader)
    while current is not None:
        yield current
        current = find_operation(reader, current.number - 1)


def append(writer: Writer, operation: Operation) -> Operation:
    """Add a fresh operation to the log and return it as logged."""
    before = last_operation(writer) or _NONE
    number = before.number + 1
    return _append(
        writer,
        replace(
            operation,
            number=number,
            time=operation.time or time.time_ns() // 1000,
            undo=number,
            below=before.undo,
        ),
    )


def plan_undo(reader: Reader) -> Operation:
    """Return the operation that undo takes back; none left is `NotFound`."""
    before = last_operation(reader) or _NONE
    target = find_operation(reader, before.undo)
    if target is None:
        raise NotFound("nothing is left to undo", hint="theta op log")
    return target


def plan_redo(reader: Reader) -> Operation:
    """Return the operation that redo brings again; none left is `NotFound`."""
    before = last_operation(reader) or _NONE
    target = find_operation(reader, before.redo)
    if target is None:
        raise NotFound("nothing is left to redo", hint="theta op log")
    return target


def append_undo(writer: Writer, target: Operation, undoing: Operation) -> Operation:
    """Log ``undoing``, which takes ``target`` back."""
    before = last_operation(writer) or _NONE
    return _append(
        writer,
        replace(
            undoing,
            number=before.number + 1,
            time=undoing.time or time.time_ns() // 1000,
            undo=target.below,
            redo=target.number,
            above=before.number,
        ),
    )


def append_redo(writer: Writer, redoing: Operation) -> Operation:
    """Log ``redoing``, which brings again what the newest undo took back."""
    before = last_operation(writer) or _NONE
    above = find_operation(writer, before.above) or _NONE
    number = before.number + 1
    return _append(
        writer,
        replace(
            redoing,
            number=number,
            time=redoing.time or time.time_ns() // 1000,
            undo=number,
            below=before.undo,
            redo=above.redo,
            above=above.above,
        ),
    )


def _append(writer: Writer, operation: Operation) -> Operation:
    key = _key(operation.number)
    value = bytes((ROW_VERSION,)) + _ENCODER.encode(_to_row(operation))
    writer.put(Table.OPERATIONS, key, seal(Table.OPERATIONS, key, value))
    return operation


def _decode(key: bytes, row: bytes | memoryview) -> Operation:
    value = unseal(Table.OPERATIONS, key, row)
    try:
        if value[0] != ROW_VERSION:
            raise MalformedRecord(f"operation of version {value[0]} needs a newer theta")
        return _from_row(_DECODER.decode(value[1:]))
    except msgspec.MsgspecError as error:
        raise MalformedRecord(f"operation {key.hex()}: {error}") from None


def _to_row(operation: Operation) -> _Row:
    moves = tuple((c.name, _spell(c.old), _spell(c.new)) for c in operation.changes)
    fields = {name: getattr(operation, name) for name in _Row.__struct_fields__}
    return _Row(**fields | {"changes": moves})


def _from_row(row: _Row) -> Operation:
    moves = tuple(RefChange(name, _read(old), _read(new)) for name, old, new in row.changes)
    fields = {name: getattr(row, name) for name in _Row.__struct_fields__}
    return Operation(**fields | {"changes": moves})


def _spell(target: Target | None) -> bytes | None:
    return None if target is None else encode_target(target)


def _read(value: bytes | None) -> Target | None:
    return None if value is None else decode_target(value)
