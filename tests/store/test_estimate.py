"""Estimates are the entropies of a sample's planes, and say when a bitmap is no worse."""

import math

import numpy as np
import pytest

from tests.store.updates import Floats, trained, weights
from theta_store import estimate
from theta_store.codecs import Bitmap
from theta_store.codecs.exponents import Order
from theta_store.dtypes import DTYPES
from theta_store.ids import ChunkId, RecordId
from theta_store.scratch import Bytes, Scratch
from theta_store.selector import Candidate, encode_guessed

WORDS = 1 << 16


class Nothing:
    """Has no needs to read."""

    def chunk(self, id_: ChunkId) -> Bytes:
        raise NotImplementedError

    def span(self, tensor: RecordId, start: int, stop: int) -> Bytes:
        raise NotImplementedError

    def order(self, id_: ChunkId, code: int, width: int) -> Order:
        raise NotImplementedError


def bytes_of(values: Floats, width: int) -> Bytes:
    """Return the upper bytes of floats."""
    wide = values.astype("<f8").view("<u8") if width == 8 else values.view("<u4")
    return (wide >> (8 * (wide.itemsize - width))).astype(f"<u{width}").view(np.uint8)


def expected(words: Bytes, width: int) -> float:
    """Return the same share, plane by plane, symbol by symbol."""
    shares = []
    for place in range(width):
        plane = words[place::width]
        parts = [np.count_nonzero(plane == byte) / len(plane) for byte in np.unique(plane)]
        entropy = -sum(part * math.log2(part) for part in parts) / 8
        most = 1.0 if entropy >= estimate.WORTH else max(entropy, 1 / 32)
        shares.append(0.0 if len(parts) == 1 else most)
    return sum(shares) / width


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_chunk_alone_costs_the_entropy_of_its_sample(width: int) -> None:
    plain = bytes_of(weights(1, WORDS), width)
    run, last = estimate.WORDS_PER_PLACE, WORDS - estimate.WORDS_PER_PLACE
    starts = [last // (estimate.PLACES - 1) * place for place in range(estimate.PLACES)]
    sampled = [plain[start * width : (start + run) * width] for start in starts]
    assert estimate.alone(plain, width) == pytest.approx(
        expected(np.concatenate(sampled), width) * len(plain)
    )


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [1, 5, 4096])
def test_a_small_chunk_is_sampled_whole(width: int, count: int) -> None:
    plain = bytes_of(weights(2, count), width)
    share = expected(plain, width)
    assert estimate.alone(plain, width) == pytest.approx(share * len(plain))
    assert estimate.alone(np.zeros(0, np.uint8), width) == 0


def test_a_guess_costs_the_entropy_of_what_it_missed() -> None:
    guess, step = np.arange(4096, dtype="<u4") * 77, np.tile([-1, 0, 1, 2], 1024)
    plain = (guess + step).astype("<u4")
    folded = np.tile([1, 0, 2, 4], 1024).astype("<u4")
    found = estimate.residual(plain.view(np.uint8), guess.view(np.uint8), 4)
    assert found.dense == pytest.approx(expected(folded.view(np.uint8), 4) * plain.nbytes)
    assert found.unchanged == 0.25
    assert math.isfinite(found.bitmap)


def test_a_bitmap_says_nothing_where_nearly_all_words_changed() -> None:
    before, after = weights(3, WORDS), trained(weights(3, WORDS), 4)
    found = estimate.residual(after.view(np.uint8), before.view(np.uint8), 4)
    assert found.bitmap == math.inf
    assert found.best == found.dense


@pytest.mark.parametrize("seed", range(6))
def test_where_both_are_estimated_alike_the_bitmap_is_taken(seed: int) -> None:
    """Where one plane alone differs, the entropy of both is the same but for rounding."""
    random = np.random.default_rng(seed)
    guess = random.integers(0, 1 << 16, WORDS).astype("<u2")
    step = random.choice([0, 0, 0, 1, 2, 3], WORDS).astype("<u2")
    plain, base = (guess + step).view(np.uint8), guess.view(np.uint8)
    found = estimate.residual(plain, base, 2)
    assert found.bitmap == pytest.approx(found.dense, rel=1e-12)
    form = encode_guessed(
        plain.data,
        [Candidate(1, b"", (), base)],
        Nothing(),
        dtype=DTYPES["BF16"],
        level="fast",
        scratch=Scratch(),
    )
    assert form is not None
    assert form.codec == Bitmap.number
