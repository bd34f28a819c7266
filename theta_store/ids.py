"""Typed ids and the two hash functions that make them.

Owns the key spaces: a chunk's id is plain BLAKE3 of its bytes (anyone can check it with
``b3sum``); a record's id is BLAKE3 in derive-key mode, one context per kind of record, so no
chunk can ever be read as a record nor one kind as another. Must not know what records contain.
"""

from functools import cache
from typing import NewType

from blake3 import blake3

from theta_store.errors import InvalidName

ChunkId = NewType("ChunkId", bytes)
RecordId = NewType("RecordId", bytes)
TensorId = NewType("TensorId", RecordId)
ParamsId = NewType("ParamsId", RecordId)
CheckpointId = NewType("CheckpointId", RecordId)
BlobId = NewType("BlobId", RecordId)
TreeId = NewType("TreeId", RecordId)
CommitId = NewType("CommitId", RecordId)

ID_BYTES = 32
SHORT_HEX = 10


def chunk_id(plain: bytes | bytearray | memoryview) -> ChunkId:
    """Return the id of a chunk: BLAKE3 of its plain bytes."""
    return ChunkId(blake3(plain).digest())


def record_id(kind: str, encoded: bytes) -> RecordId:
    """Return the id of an encoded record: BLAKE3 in derive-key mode, context ``theta/1 <kind>``."""
    hasher = _of_kind(kind).copy()
    hasher.update(encoded)
    return RecordId(hasher.digest())


@cache
def _of_kind(kind: str) -> blake3:
    # Deriving the key takes longer than hashing a record; copies start from it.
    return blake3(derive_key_context=f"theta/1 {kind}")


def hex_id(id_: bytes) -> str:
    """Spell an id in full, 64 hex digits."""
    return id_.hex()


def short(id_: bytes) -> str:
    """Spell an id for people, its first ten hex digits."""
    return id_.hex()[:SHORT_HEX]


def parse_id(text: str) -> bytes:
    """Read 64 hex digits; anything else is an `InvalidName`."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES or len(text) != 2 * ID_BYTES:
        raise InvalidName(f"{text!r} is not an id: 64 hex digits are expected")
    return raw
