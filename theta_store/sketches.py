"""Sketches in ``meta``: the index by which a relative of a tensor is found when names do not help.

Owns the table ``sketches``. Must not know what a sketch says: it is 256 bytes here.

Key = 8 bytes of BLAKE3 (derive-key mode, context ``theta/1 sketch``) of the dtype and the axes of
the shape, in decimal, with a space before each (``F32 700 512``); then the tensor's id. So tensors
of one dtype and shape lie together. Value = sealed: version (one byte, 1), the sketch.

An entry is a hint. It may be missing, it may name a tensor that is gone, and who looks for a
relative does not check its seal: nothing that is found here is trusted.
"""

from collections.abc import Mapping

import msgspec
from blake3 import blake3

from theta_store.db import Reader, Table, Writer
from theta_store.errors import IntegrityError
from theta_store.ids import ID_BYTES, RecordId, TensorId
from theta_store.objects import has_record, record_birth
from theta_store.sealed import SEAL_BYTES, seal, unseal

VERSION = 1
SKETCH_BYTES = 256
KIND_BYTES = 8
# Of one dtype and shape no more are compared, those of the least ids: in a store that holds more,
# most have relatives among them.
MOST = 4096
_VALUE_BYTES = SEAL_BYTES + 1 + SKETCH_BYTES


class Relatives(msgspec.Struct):
    """Stored tensors of one dtype and shape, in the order of their ids, and their sketches."""

    ids: list[TensorId] = msgspec.field(default_factory=list)
    sketches: list[bytes] = msgspec.field(default_factory=list)


def kind_key(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return what the keys of all tensors of a dtype and shape start with."""
    text = " ".join((dtype, *map(str, shape)))
    return blake3(text.encode(), derive_key_context="theta/1 sketch").digest(KIND_BYTES)


def sketch_key(dtype: str, shape: tuple[int, ...], id_: TensorId) -> bytes:
    """Return the key of a tensor's entry."""
    return kind_key(dtype, shape) + id_


def has_entry(reader: Reader, key: bytes) -> bool:
    """Say whether a tensor has an entry."""
    return reader.get(Table.SKETCHES, key) is not None


def put_sketches(writer: Writer, sketches: Mapping[bytes, bytes]) -> None:
    """Set the sketches of tensors, by key."""
    for key, sketch in sketches.items():
        value = bytes((VERSION,)) + sketch
        writer.put(Table.SKETCHES, key, seal(Table.SKETCHES, key, value))


def find_sketch(reader: Reader, key: bytes) -> bytes | None:
    """Return a tensor's sketch, its seal verified; None where there is none that can be read."""
    row = reader.get(Table.SKETCHES, key)
    try:
        value = b"" if row is None else unseal(Table.SKETCHES, key, row)
    except IntegrityError:
        return None
    whole = len(value) == 1 + SKETCH_BYTES and value[0] == VERSION
    return value[1:] if whole else None


def relatives(
    reader: Reader, dtype: str, shape: tuple[int, ...], *, before: TensorId | None = None
) -> Relatives:
    """Return the tensors of a dtype and shape, at most 4096.

    ``before`` keeps those that were stored before a tensor, or with it and have a lesser id: so of
    two tensors only one may follow from the other.
    """
    prefix = kind_key(dtype, shape)
    limit = None if before is None else (record_birth(reader, before), before)
    found = Relatives()
    for key, row in reader.items(Table.SKETCHES, prefix):
        if not key.startswith(prefix) or len(found.ids) == MOST:
            break
        id_ = TensorId(RecordId(key[KIND_BYTES:]))
        if len(row) != _VALUE_BYTES or row[SEAL_BYTES] != VERSION:
            continue
        if limit is None or (record_birth(reader, id_), id_) < limit:
            found.ids.append(id_)
            found.sketches.append(bytes(row[-SKETCH_BYTES:]))
    return found


def drop_stale(writer: Writer) -> None:
    """Remove the entries that are damaged and those of tensors that are gone; only gc does."""
    stale = [
        key
        for key in writer.keys(Table.SKETCHES)
        if len(key) != KIND_BYTES + ID_BYTES
        or not has_record(writer, RecordId(key[KIND_BYTES:]))
        or find_sketch(writer, key) is None
    ]
    for key in stale:
        writer.delete(Table.SKETCHES, key)
