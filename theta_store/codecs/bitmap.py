"""The codec ``bitmap``: which words a guess missed, and by how much.

For chunks of which most words did not change: sparse updates, training in bfloat16.

Payload, version 1: one mode byte; how many words changed (four bytes little-endian); per plane a
kind byte (0 raw, 1 zstd frame, 2 one byte repeated, 3 packed: packed.py; 3 not in a map) and the
length of its bytes (four bytes little-endian); then the planes' bytes; then the chunk's own bytes
that fill no word. The planes, in order:

- mode 0: one plane with one bit per word of the chunk, 1 where it changed, the first word in the
  lowest bit, filled up with zeros;
- mode 1: the four planes of one 32-bit word per change: how many words lie between it and the
  change before it;
- both: the planes of zigzag(chunk - guess) - 1, wrapping around, of the words that changed.
"""

import struct

import numpy as np

from theta_store.codecs.base import Guess
from theta_store.codecs.packed import decode_skewed, encode_skewed
from theta_store.codecs.plane import Coded, decode_plane, encode_plane, pack_entries, unpack_entries
from theta_store.codecs.residual import check_guess, tail_of, words_of
from theta_store.codecs.words import decode_words, encode_words
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError
from theta_store.kernels import Words, concatenate, fold, unfold, words_in
from theta_store.kernels.places import Places, places
from theta_store.scratch import Scratch

MAP, GAPS = range(2)
GAP_BYTES = 4
# Above this share of changed words gaps are not even tried.
SPARSE = 1 / 16
_HEAD = struct.Struct("<BI")


class Bitmap:
    """For sparse residuals."""

    id = "bitmap"
    number = 4
    version = 1

    def encode(
        self, plain: memoryview, guess: Guess, *, dtype: DType, scratch: Scratch, head: bytes = b""
    ) -> bytes:
        """Code where words changed, as a map or as gaps, whichever is smaller, and by how much.

        ``head`` goes in front.
        """
        check_guess(guess, len(plain))
        words, guessed = words_of(plain, dtype.width), words_of(guess.plain, dtype.width)
        changed = scratch.array("changed", len(words)).view(np.bool_)
        np.not_equal(words, guessed, out=changed)
        positions = places(changed)
        mode, coded = MAP, [encode_plane(np.packbits(changed, bitorder="little"), scratch)]
        if len(positions) <= SPARSE * len(words):
            gaps = encode_words(_gaps(positions), scratch, encode_plane, "gap")
            mode, coded = min((mode, coded), (GAPS, gaps), key=lambda choice: _size(choice[1]))
        missed = _differences(words, guessed, positions, scratch)
        coded = coded + encode_words(missed, scratch, encode_skewed, "word")
        head += _HEAD.pack(mode, len(positions))
        planes = (data for _, data in coded)
        return concatenate((head, pack_entries(coded), *planes, tail_of(plain, dtype.width)))

    def decode(
        self, payload: memoryview, guess: Guess, out: memoryview, *, width: int, scratch: Scratch
    ) -> None:
        """Copy the guess and correct the words that changed."""
        check_guess(guess, len(out))
        if len(payload) < _HEAD.size or payload[0] not in (MAP, GAPS):
            raise IntegrityError("bitmap: the head is damaged")
        mode, count = _HEAD.unpack_from(payload)
        target = words_of(out, width)
        if count > len(target):
            raise IntegrityError("bitmap: more words changed than there are")
        planes = 1 if mode == MAP else GAP_BYTES
        coded, tail = unpack_entries(payload, _HEAD.size, planes + width)
        if len(tail) != len(out) % width:
            raise IntegrityError("bitmap: the payload has a wrong length")
        positions = _positions(mode, coded[:planes], count, len(target), scratch)
        missed = words_in(scratch, "residual", count, width)
        decode_words(coded[planes:], missed, scratch, decode_skewed)
        np.add(missed, 1, out=missed)
        unfold(missed, scratch)
        np.copyto(target, words_of(guess.plain, width))
        target[positions] += missed
        tail_of(out, width)[:] = tail


def _size(coded: list[Coded]) -> int:
    return len(pack_entries(coded)) + sum(len(data) for _, data in coded)


def _gaps(positions: Places) -> Words:
    return (np.diff(positions, prepend=-1) - 1).astype("<u4")


def _differences(words: Words, guessed: Words, positions: Places, scratch: Scratch) -> Words:
    missed = words_in(scratch, "residual", len(positions), words.itemsize)
    np.subtract(words[positions], guessed[positions], out=missed)
    fold(missed, scratch)
    # A changed word never folds to 0.
    np.subtract(missed, 1, out=missed)
    return missed


def _positions(
    mode: int, coded: list[tuple[int, memoryview]], count: int, words: int, scratch: Scratch
) -> Places:
    """Return the places of the words that changed, ascending; damage is an `IntegrityError`."""
    if mode == MAP:
        kind, data = coded[0]
        size = -(-words // 8)
        bits = scratch.array("map", size)
        bits[:] = decode_plane(kind, data, size, scratch)
        changed = np.unpackbits(bits, count=words, bitorder="little").view(np.bool_)
        positions = places(changed)
        if len(positions) != count:
            raise IntegrityError("bitmap: the map marks other words than were kept")
        return positions
    gaps = words_in(scratch, "gaps", count, GAP_BYTES)
    decode_words(coded, gaps, scratch, decode_plane)
    positions = np.cumsum(gaps, dtype=np.int64)
    positions += np.arange(count)
    if count and positions[-1] >= words:
        raise IntegrityError("bitmap: a gap leads out of the chunk")
    return positions
