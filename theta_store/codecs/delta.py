"""The codec ``delta``: the planes of a dense residual.

For guesses that nearly every word misses by a little: a fine-tune, the next checkpoint of a run.

Payload, version 1: one mode byte (0), then per plane of the residual's words, from the lowest byte
to the highest, a kind byte (0 raw, 1 zstd frame, 2 one byte repeated, 3 packed: packed.py) and the
length of its bytes (four bytes little-endian); then the planes' bytes in that order; then the
chunk's own bytes that fill no word. The residual: zigzag(chunk - guess), wrapping around.
"""

from collections.abc import Sequence

from theta_store.codecs.base import Guess
from theta_store.codecs.packed import decode_skewed, encode_skewed
from theta_store.codecs.plane import CONSTANT, RAW, Coded, pack_entries, unpack_entries
from theta_store.codecs.residual import check_guess, tail_of, words_of
from theta_store.codecs.words import decode_words, encode_words
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError
from theta_store.kernels import concatenate
from theta_store.scratch import Scratch

MODE = 0


class Delta:
    """For dense residuals."""

    id = "delta"
    number = 3
    version = 1

    def encode(
        self, plain: memoryview, guess: Guess, *, dtype: DType, scratch: Scratch, head: bytes = b""
    ) -> bytes:
        """Code the planes of what the guess missed; ``head`` goes in front."""
        check_guess(guess, len(plain))
        words, guessed = words_of(plain, dtype.width), words_of(guess.plain, dtype.width)
        coded = encode_words(words, scratch, encode_skewed, "word", guessed)
        return _joined(head, coded, plain, dtype.width)

    def encode_exact(self, plain: memoryview, *, dtype: DType, head: bytes = b"") -> bytes:
        """Return the same as `encode` for a guess that is the very bytes, without a look at it."""
        zero: Coded = (CONSTANT, b"\0") if len(plain) >= dtype.width else (RAW, b"")
        return _joined(head, [zero] * dtype.width, plain, dtype.width)

    def decode(
        self, payload: memoryview, guess: Guess, out: memoryview, *, width: int, scratch: Scratch
    ) -> None:
        """Decode the planes and add the guess."""
        check_guess(guess, len(out))
        if not len(payload) or payload[0] != MODE:
            raise IntegrityError("delta: the head is damaged")
        coded, tail = unpack_entries(payload, 1, width)
        if len(tail) != len(out) % width:
            raise IntegrityError("delta: the payload has a wrong length")
        guessed = words_of(guess.plain, width)
        decode_words(coded, words_of(out, width), scratch, decode_skewed, guessed)
        tail_of(out, width)[:] = tail


def _joined(head: bytes, coded: Sequence[Coded], plain: memoryview, width: int) -> bytes:
    planes = (data for _, data in coded)
    return concatenate((head, bytes((MODE,)), pack_entries(coded), *planes, tail_of(plain, width)))
