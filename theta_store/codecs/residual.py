"""A chunk's bytes as words, and the check of the guess beside it.

Owns what the residual codecs share. What a guess missed is the zigzagged difference of words,
wrapping around (`theta_store.kernels`): on the bits of machine words, so exact for any dtype and
any bit pattern. Must not know how words are coded.
"""

import numpy as np

from theta_store.codecs.base import Guess
from theta_store.errors import IntegrityError
from theta_store.kernels import Words
from theta_store.scratch import Bytes


def words_of(plain: Bytes | memoryview, width: int) -> Words:
    """Return the whole words of ``width`` bytes of a chunk, little-endian, without a copy."""
    source = np.frombuffer(plain, np.uint8)
    return source[: len(source) // width * width].view(f"<u{width}")


def tail_of(plain: memoryview, width: int) -> memoryview:
    """Return the bytes at the end of a chunk that fill no word."""
    return plain[len(plain) // width * width :]


def check_guess(guess: Guess, size: int) -> None:
    """Refuse a guess, or a key, of another length than the chunk: an `IntegrityError`."""
    for part in (guess.plain, guess.key):
        if part is not None and len(part) != size:
            raise IntegrityError(f"a guess of {len(part)} bytes for a chunk of {size}")
