"""Checksums for what is not content-addressed: refs, operations, notes, expiries, index rows.

Owns the seal: eight bytes of BLAKE3 over table, key and value together, so a value can neither be
flipped nor moved to another key unseen. Pure; must not know what the values mean.
"""

from functools import cache

from blake3 import blake3

from theta_store.errors import IntegrityError

SEAL_BYTES = 8


def _digest(table: str, key: bytes, value: bytes | memoryview) -> bytes:
    hasher = _of_table(table).copy()
    hasher.update(len(key).to_bytes(4, "little") + key)
    hasher.update(value)
    return hasher.digest(SEAL_BYTES)


@cache
def _of_table(table: str) -> blake3:
    # Deriving the key takes longer than hashing a row; copies start from it.
    return blake3(derive_key_context=f"theta/1 seal {table}")


def seal(table: str, key: bytes, value: bytes) -> bytes:
    """Return ``value`` with its seal in front."""
    return _digest(table, key, value) + value


def unseal(table: str, key: bytes, sealed: bytes | memoryview) -> bytes:
    """Return the value under a seal; a broken seal is an `IntegrityError` that names the key."""
    whole = bytes(sealed)
    value = whole[SEAL_BYTES:]
    if whole[:SEAL_BYTES] != _digest(table, key, value):
        name = key.decode(errors="replace") if key.isascii() else key.hex()
        raise IntegrityError(f"{table} entry {name!r} is damaged", hint="theta fsck")
    return value
