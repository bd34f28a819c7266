"""What a guess missed, as words: the zigzagged wrap-around difference, and back.

Owns the arithmetic that the residual codecs share. It is on the bits of machine words, so it is
exact for any dtype and any bit pattern. Must not know how words are coded.
"""

import numpy as np

from theta_store.codecs.base import Guess
from theta_store.errors import IntegrityError
from theta_store.kernels import Words, fold, words_in
from theta_store.scratch import Bytes, Scratch


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


def difference(plain: memoryview, guess: Guess, width: int, scratch: Scratch) -> Words:
    """Return the folded difference of a chunk and its guess, in scratch until the next call."""
    check_guess(guess, len(plain))
    words = words_of(plain, width)
    out = words_in(scratch, "residual", len(words), width)
    np.subtract(words, words_of(guess.plain, width), out=out)
    fold(out, scratch)
    return out


def settle(differences: Words, guess: Guess, out: memoryview) -> None:
    """Fill the whole words of ``out`` with the guess plus the differences."""
    width = differences.itemsize
    np.add(differences, words_of(guess.plain, width), out=words_of(out, width))
