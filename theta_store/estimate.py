"""What a chunk would cost in each form, from a sample of it.

Owns the sample (runs at four places) and the entropies. Pure; must not know codecs' bytes. Numbers
are bytes; they guide a choice and are never trusted for more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta_store.scratch import Bytes

PLACES = 4
# Above this share of changed words a bitmap says nothing that the words do not.
MOSTLY = 0.9
WORDS_PER_PLACE = 1024
# A plane that entropy coding shortens by less is kept raw.
WORTH = 0.97
# Rare symbols are packed four to a byte before they are coded.
_HUFFMAN_FLOOR = 1 / 32


@dataclass(frozen=True, slots=True)
class Residual:
    """Estimated bytes of a residual, dense and as a bitmap; ``unchanged`` is a share of words."""

    dense: float
    bitmap: float
    unchanged: float

    @property
    def best(self) -> float:
        """The smaller estimate."""
        return min(self.dense, self.bitmap)


def sample(plain: Bytes, width: int) -> Bytes:
    """Return whole words from four places, or all of a small chunk, as rows of ``width`` bytes."""
    words = len(plain) // width
    run = WORDS_PER_PLACE
    if words <= PLACES * run:
        return plain[: words * width].reshape(-1, width)
    starts = [(words - run) * place // (PLACES - 1) for place in range(PLACES)]
    return np.concatenate(
        [plain[start * width : (start + run) * width].reshape(-1, width) for start in starts]
    )


def alone(plain: Bytes, width: int) -> float:
    """Return the estimated bytes of a chunk without a guess."""
    return _planes(sample(plain, width)) * len(plain)


def residual(plain: Bytes, guess: Bytes, width: int) -> Residual:
    """Return the estimated bytes of what a guess misses."""
    missed = zigzag(sample(plain, width), sample(guess, width), width)
    # Whole words are compared: numpy looks at rows of bytes one by one.
    changed = missed.view(f"<u{width}").reshape(-1) != 0
    share = int(np.count_nonzero(changed)) / max(len(missed), 1)
    dense = _planes(missed) * len(plain)
    if share > MOSTLY:
        return Residual(dense, dense, 1 - share)
    packed = max(_binary_entropy(share) / 8, _HUFFMAN_FLOOR / 8) / width
    planes = _planes(missed[np.flatnonzero(changed)])
    return Residual(dense, (packed + share * planes) * len(plain), 1 - share)


def zigzag(plain: Bytes, guess: Bytes, width: int) -> Bytes:
    """Return the zigzagged wrap-around difference of rows of ``width`` bytes."""
    word, signed = f"<u{width}", f"<i{width}"
    left = np.ascontiguousarray(plain).view(word)
    right = np.ascontiguousarray(guess).view(word)
    step = (left - right).view(signed)
    folded: NDArray[np.unsignedinteger] = (step << 1) ^ (step >> (8 * width - 1))
    return folded.view(np.uint8).reshape(-1, width)


def _planes(rows: Bytes) -> float:
    """Return the share of their bytes that rows take when each plane is entropy coded."""
    if not len(rows):
        return 0.0
    shares = [_plane(rows[:, place]) for place in range(rows.shape[1])]
    return sum(shares) / len(shares)


def _plane(plane: Bytes) -> float:
    counts = np.bincount(plane, minlength=256)
    counts = counts[counts > 0]
    if len(counts) == 1:
        return 0.0
    shares = counts / len(plane)
    entropy = float(-(shares * np.log2(shares)).sum()) / 8
    return 1.0 if entropy >= WORTH else max(entropy, _HUFFMAN_FLOOR)


def _binary_entropy(share: float) -> float:
    if share in {0.0, 1.0}:
        return 0.0
    return float(-(share * np.log2(share) + (1 - share) * np.log2(1 - share)))
