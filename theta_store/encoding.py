"""Records to canonical bytes and back: the only definition of a record's bytes.

Owns kind bytes, version bytes and canonical MessagePack. Must not know where bytes are kept.

Bytes = kind byte, version byte, MessagePack array of the record's fields in order; map keys sorted.
One record has one spelling: msgspec's decoder also accepts others (long integers, unsorted
keys), so decoding re-encodes and compares.
"""

from typing import Any

import msgspec

from theta_store.errors import ForeignRepository, InvalidName, MalformedRecord
from theta_store.ids import RecordId, record_id
from theta_store.records import Blob, Checkpoint, Commit, Params, Record, Tensor, Tree

KIND_BYTES: dict[type[Record], int] = {
    Tensor: 1,
    Params: 2,
    Checkpoint: 3,
    Blob: 4,
    Tree: 5,
    Commit: 6,
}
_BY_BYTE = {byte: record for record, byte in KIND_BYTES.items()}
_HEADS = {record: bytes((byte, record.version)) for record, byte in KIND_BYTES.items()}
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODERS: dict[type[Record], msgspec.msgpack.Decoder[Any]] = {
    record: msgspec.msgpack.Decoder(record) for record in KIND_BYTES
}


def encode(record: Record) -> bytes:
    """Return the canonical bytes of a record; a name that is not valid UTF-8 is refused."""
    try:
        return _HEADS[type(record)] + _ENCODER.encode(record)
    except UnicodeEncodeError:
        raise InvalidName("a name is not valid UTF-8") from None


def identify(record: Record) -> RecordId:
    """Return the id of a record."""
    return record_id(record.kind, encode(record))


def kind_of(encoded: bytes | memoryview) -> type[Record]:
    """Return the record class that the first two bytes announce.

    An unknown kind or version is a `ForeignRepository`: newer, not corrupt.
    """
    if len(encoded) < 2:
        raise MalformedRecord("a record is shorter than its head")
    record = _BY_BYTE.get(encoded[0])
    if record is None or encoded[1] != record.version:
        raise ForeignRepository(
            f"record of kind {encoded[0]}, version {encoded[1]}, needs a newer theta",
            hint="pip install --upgrade theta-vcs",
        )
    return record


def decode(encoded: bytes | memoryview) -> Record:
    """Return the record that these canonical bytes spell; anything else is `MalformedRecord`."""
    kind = kind_of(encoded)
    try:
        record: Record = _DECODERS[kind].decode(memoryview(encoded)[2:])
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidName) as error:
        raise MalformedRecord(f"not a {kind.kind} record: {error}") from None
    if encode(record) != encoded:
        raise MalformedRecord(f"a {kind.kind} record is not in canonical form")
    return record
