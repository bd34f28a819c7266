"""One plane: the bytes of one place of every word, as they are, as a frame, or one byte repeated.

Owns the probe that decides and the kinds 0 to 2, which are on disk. Must not know words, nor what a
payload is built of.
"""

import struct
from collections.abc import Sequence

import numpy as np

from theta_store.codecs.frames import expand, huffman, huffman_groups
from theta_store.errors import IntegrityError
from theta_store.kernels import Plane, is_constant
from theta_store.scratch import Bytes, Scratch

RAW, FRAME, CONSTANT = range(3)
PROBES = 3
PROBE_BYTES = 4096
WORTH = 0.97
# Cutting a frame at the groups costs some bytes each; below this share of the plane it may not pay.
WORTH_UNCUT = 1 / 16

Data = bytes | memoryview
Coded = tuple[int, Data]

_ENTRY = struct.Struct("<BI")
ENTRY_BYTES = _ENTRY.size


def encode_plane(plane: Bytes, scratch: Scratch, bounds: Sequence[int] = ()) -> Coded:
    """Return the kind and the bytes of a plane, by what probes of it say.

    ``bounds`` are the ends of groups of bytes that are alike, the last one the plane's; a frame
    then has entropy tables of its own for each group. Bytes of kind raw are the plane's own memory.
    """
    size = len(plane)
    if size == 0:
        return RAW, b""
    if is_constant(plane):
        return CONSTANT, plane[:1].tobytes()
    probe = _probe(plane)
    tried = huffman(probe.data, scratch)
    if len(tried) >= WORTH * len(probe):
        return RAW, plane.data
    whole = probe is plane and len(bounds) < 2
    frame = tried if whole else _frame(plane, bounds, scratch)
    return _smaller(frame, plane)


def encode_shrinking(plane: Bytes, scratch: Scratch, bounds: Sequence[int] = ()) -> Coded:
    """Return the same as `encode_plane` for a plane that a probe would only delay."""
    if is_constant(plane):
        return CONSTANT, plane[:1].tobytes()
    return _smaller(_frame(plane, bounds, scratch), plane)


def decode_plane(
    kind: int,
    data: memoryview,
    size: int,
    scratch: Scratch,
    role: str = "",  # noqa: ARG001 - of `Decode`; nothing is kept in scratch
) -> Plane:
    """Return a plane of ``size`` bytes, or the one byte it repeats; else an `IntegrityError`."""
    if kind == CONSTANT and len(data) == 1:
        return data[0]
    if kind == FRAME:
        return np.frombuffer(expand(data, size, scratch), np.uint8)
    if kind == RAW and len(data) == size:
        return np.frombuffer(data, np.uint8)
    raise IntegrityError("a plane is damaged")


def pack_entries(coded: Sequence[Coded]) -> bytes:
    """Return the kind (one byte) and the length (four bytes little-endian) of each plane."""
    return b"".join(_ENTRY.pack(kind, len(data)) for kind, data in coded)


def unpack_entries(
    payload: memoryview, at: int, count: int
) -> tuple[list[tuple[int, memoryview]], memoryview]:
    """Return ``count`` planes, their entries from ``at`` on, then their bytes; and the rest."""
    position = at + count * ENTRY_BYTES
    if len(payload) < position:
        raise IntegrityError("the entries of the planes are cut off")
    coded = []
    for place in range(count):
        kind, length = _ENTRY.unpack_from(payload, at + place * ENTRY_BYTES)
        coded.append((kind, payload[position : position + length]))
        position += length
    if len(payload) < position:
        raise IntegrityError("the planes are cut off")
    return coded, payload[position:]


def _probe(plane: Bytes) -> Bytes:
    if len(plane) <= PROBES * PROBE_BYTES:
        return plane
    last = len(plane) - PROBE_BYTES
    starts = (last * place // (PROBES - 1) for place in range(PROBES))
    return np.concatenate([plane[start : start + PROBE_BYTES] for start in starts])


def _smaller(frame: bytes, plane: Bytes) -> Coded:
    return (FRAME, frame) if len(frame) < WORTH * len(plane) else (RAW, plane.data)


def _frame(plane: Bytes, bounds: Sequence[int], scratch: Scratch) -> bytes:
    if len(bounds) < 2:
        return huffman(plane.data, scratch)
    frame = huffman_groups(plane.data, bounds, scratch)
    if len(frame) < WORTH_UNCUT * len(plane):
        frame = min(frame, huffman(plane.data, scratch), key=len)
    return frame
