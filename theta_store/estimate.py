"""What a chunk would cost in each form, from a sample of it.

Owns the sample (runs at four places) and the entropies. Pure; must not know codecs' bytes. Numbers
are bytes; they guide a choice and are never trusted for more.
"""

import math
from dataclasses import dataclass

import numpy as np

from theta_store.kernels import Counts, Words, count_planes
from theta_store.scratch import Bytes

PLACES = 4
# Above this share of changed words a bitmap says nothing that the words do not.
MOSTLY = 0.9
WORDS_PER_PLACE = 1024
# A plane that entropy coding shortens by less is kept raw.
WORTH = 0.97
# Rare symbols are packed four to a byte before they are coded.
_HUFFMAN_FLOOR = 1 / 32
# n log2 n for each count that a sample can have; 0 for 0.
_N_LOG_N = np.arange(PLACES * WORDS_PER_PLACE + 1, dtype=np.float64)
_N_LOG_N[1:] *= np.log2(_N_LOG_N[1:])
_N_LOG_N.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Residual:
    """Estimated bytes of a residual, dense and as a bitmap; ``unchanged`` is a share of words.

    ``bitmap`` is infinite where a bitmap says nothing that the words do not.
    """

    dense: float
    bitmap: float
    unchanged: float

    @property
    def best(self) -> float:
        """The smaller estimate."""
        return min(self.dense, self.bitmap)


def sample(plain: Bytes, width: int) -> Words:
    """Return the whole words of four places, evenly spaced, or all of a small chunk: a view."""
    count, run, word = len(plain) // width, WORDS_PER_PLACE, f"<u{width}"
    if count <= PLACES * run:
        return plain[: count * width].view(word).reshape(1, -1)
    step = (count - run) // (PLACES - 1) * width
    return np.ndarray((PLACES, run), word, plain, strides=(step, width))


def alone(plain: Bytes, width: int) -> float:
    """Return the estimated bytes of a chunk without a guess."""
    words, counts = sample(plain, width), _counts(width)
    count_planes(words, None, counts)
    return _planes(counts, words.size) * len(plain)


def residual(plain: Bytes, guess: Bytes, width: int) -> Residual:
    """Return the estimated bytes of what a guess misses."""
    words, counts = sample(plain, width), _counts(width)
    zeros = count_planes(words, sample(guess, width), counts)
    changed = words.size - zeros
    share = changed / max(words.size, 1)
    dense = _planes(counts, words.size) * len(plain)
    if share > MOSTLY:
        return Residual(dense, math.inf, 1 - share)
    packed = max(_binary_entropy(share) / 8, _HUFFMAN_FLOOR / 8) / width
    counts[:, 0] -= zeros
    planes = _planes(counts, changed)
    return Residual(dense, (packed + share * planes) * len(plain), 1 - share)


def _counts(width: int) -> Counts:
    return np.empty((width, 256), np.int64)


def _planes(counts: Counts, count: int) -> float:
    """Return the share of their bytes that words take when each plane is entropy coded."""
    if not count:
        return 0.0
    sums = _N_LOG_N[counts].sum(axis=1)
    information = math.log2(count) - sums / count
    # Of several values the sum is smaller, by more than rounding.
    constant = sums == _N_LOG_N[count]
    shares = map(_share, (information / 8).tolist(), constant.tolist())
    return sum(shares) / len(counts)


def _share(entropy: float, constant: bool) -> float:
    if constant:
        return 0.0
    return 1.0 if entropy >= WORTH else max(entropy, _HUFFMAN_FLOOR)


def _binary_entropy(share: float) -> float:
    if share in {0.0, 1.0}:
        return 0.0
    return float(-(share * np.log2(share) + (1 - share) * np.log2(1 - share)))
