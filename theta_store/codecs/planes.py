"""The codec ``planes``: the bytes of each word's place together, each plane coded by itself.

The exponent bytes of weights are far from random and Huffman-code well, the low mantissa bytes are
noise and are kept raw; splitting them apart is most of what can be won without a prediction.

Payload, version 1: one mode byte (0), then per plane, from the lowest byte of a word to the
highest, a kind byte (0 raw, 1 zstd frame, 2 one byte repeated) and the length of its bytes (four
bytes little-endian); then the planes' bytes in that order; then the bytes that fill no word.
"""

import struct

import numpy as np

from theta_store.codecs.base import Bytes, Scratch
from theta_store.codecs.frames import expand, huffman
from theta_store.errors import IntegrityError

RAW, FRAME, CONSTANT = range(3)
MODE = 0
_ENTRY = struct.Struct("<BI")
PROBES = 3
PROBE_BYTES = 4096
WORTH = 0.97


class Planes:
    """For floating-point chunks without a prediction."""

    id = "planes"
    number = 2
    version = 1

    def encode(self, plain: memoryview, *, width: int, scratch: Scratch) -> bytes | memoryview:
        """Split into ``width`` planes and code each by what a probe of it says."""
        source = np.frombuffer(plain, np.uint8)
        words = len(source) // width
        parts: list[bytes | memoryview] = [bytes((MODE,))]
        coded = [
            _encode_plane(_plane(source, place, words, width, scratch), scratch)
            for place in range(width)
        ]
        parts += [_ENTRY.pack(kind, len(data)) for kind, data in coded]
        parts += [data for _, data in coded]
        parts.append(plain[words * width :])
        return b"".join(parts)

    def decode(self, payload: memoryview, out: memoryview, *, width: int, scratch: Scratch) -> None:
        """Decode each plane and put its bytes back into their places."""
        target = np.frombuffer(out, np.uint8)
        words = len(target) // width
        head = 1 + width * _ENTRY.size
        if len(payload) < head or payload[0] != MODE:
            raise IntegrityError("planes: the head is damaged")
        position = head
        for place in range(width):
            kind, length = _ENTRY.unpack_from(payload, 1 + place * _ENTRY.size)
            data = payload[position : position + length]
            plane = target[place : words * width : width]
            _decode_plane(kind, data, plane, scratch)
            position += length
        tail = payload[position:]
        if len(tail) != len(target) - words * width:
            raise IntegrityError("planes: the payload has a wrong length")
        out[words * width :] = tail


def _plane(source: Bytes, place: int, words: int, width: int, scratch: Scratch) -> Bytes:
    strided = source[place : words * width : width]
    if width == 1:
        return strided
    # A role of its own per place: raw planes live in scratch until the payload is joined.
    plane = scratch.array(f"plane {place}", words)
    np.copyto(plane, strided)
    return plane


def _encode_plane(plane: Bytes, scratch: Scratch) -> tuple[int, bytes | memoryview]:
    size = len(plane)
    if size == 0:
        return RAW, b""
    probe = _probe(plane)
    if probe.min() == probe.max() and plane.min() == plane.max():
        return CONSTANT, plane[:1].tobytes()
    if len(huffman(probe.data, scratch)) >= WORTH * len(probe):
        return RAW, plane.data
    frame = huffman(plane.data, scratch)
    return (FRAME, frame) if len(frame) < WORTH * size else (RAW, plane.data)


def _probe(plane: Bytes) -> Bytes:
    if len(plane) <= PROBES * PROBE_BYTES:
        return plane
    starts = np.linspace(0, len(plane) - PROBE_BYTES, PROBES).astype(int)
    return np.concatenate([plane[start : start + PROBE_BYTES] for start in starts])


def _decode_plane(kind: int, data: memoryview, plane: Bytes, scratch: Scratch) -> None:
    if kind == CONSTANT and len(data) == 1:
        plane[:] = data[0]
    elif kind == FRAME:
        plane[:] = np.frombuffer(expand(data, len(plane), scratch), np.uint8)
    elif kind == RAW and len(data) == len(plane):
        plane[:] = np.frombuffer(data, np.uint8)
    else:
        raise IntegrityError("planes: a plane is damaged")
