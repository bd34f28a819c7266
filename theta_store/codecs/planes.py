"""The codec ``planes``: the bytes of each word's place together, each plane coded by itself.

The exponent bytes of weights are far from random and Huffman-code well, the low mantissa bytes are
noise and are kept raw; splitting them apart is most of what can be won without a prediction.

Payload, version 1: one mode byte (0), then per plane, from the lowest byte of a word to the
highest, a kind byte (0 raw, 1 zstd frame, 2 one byte repeated) and the length of its bytes (four
bytes little-endian); then the planes' bytes in that order; then the bytes that fill no word.
"""

from theta_store.codecs.plane import decode_plane, encode_plane, pack_entries, unpack_entries
from theta_store.codecs.residual import tail_of, words_of
from theta_store.codecs.words import decode_words, encode_words
from theta_store.errors import IntegrityError
from theta_store.kernels import concatenate
from theta_store.scratch import Scratch

MODE = 0


class Planes:
    """For floating-point chunks without a prediction."""

    id = "planes"
    number = 2
    version = 1

    def encode(self, plain: memoryview, *, width: int, scratch: Scratch) -> bytes | memoryview:
        """Split into ``width`` planes and code each by what a probe of it says."""
        coded = encode_words(words_of(plain, width), scratch, encode_plane, "word")
        planes = (data for _, data in coded)
        return concatenate((bytes((MODE,)), pack_entries(coded), *planes, tail_of(plain, width)))

    def decode(self, payload: memoryview, out: memoryview, *, width: int, scratch: Scratch) -> None:
        """Decode each plane and put its bytes back into their places."""
        if not len(payload) or payload[0] != MODE:
            raise IntegrityError("planes: the head is damaged")
        coded, tail = unpack_entries(payload, 1, width)
        if len(tail) != len(out) % width:
            raise IntegrityError("planes: the payload has a wrong length")
        decode_words(coded, words_of(out, width), scratch, decode_plane)
        tail_of(out, width)[:] = tail
