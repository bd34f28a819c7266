"""Content-defined cuts: they lose nothing, keep their bounds, and find their way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.storage.schemes.gear import _SEED, HIGH_BITS, MAXIMUM, MINIMUM, cut

sizes = st.integers(0, 600_000)


def _noise(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@given(seed=st.integers(0, 99), size=sizes)
def test_cuts_cover_the_data_within_bounds(seed: int, size: int) -> None:
    ends = cut(_noise(seed, size))
    lengths = np.diff([0, *ends])
    assert sum(lengths) == size
    assert all(MINIMUM <= length <= MAXIMUM for length in lengths[:-1])
    assert all(0 < length <= MAXIMUM for length in lengths)


@pytest.mark.parametrize("piece", [128, 1 << 20])
def test_the_hash_is_the_rolling_one(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one pass of ``h = (h << 1) + table[byte]`` finds, byte by byte."""
    monkeypatch.setattr("benchmarks.storage.schemes.gear._PIECE", piece)
    data = _noise(7, 700_000)
    table = np.random.default_rng(_SEED).integers(0, 1 << 64, 256, np.uint64).tolist()
    ends, start, h = [], 0, 0
    for i, byte in enumerate(data.tolist()):
        h = ((h << 1) + table[byte]) & (1 << 64) - 1
        length = i + 1 - start
        if (length >= MINIMUM and h >> (64 - HIGH_BITS) == 0) or length == MAXIMUM:
            ends.append(i + 1)
            start = i + 1
    if start < data.size:
        ends.append(data.size)
    assert cut(data) == ends


def test_an_insertion_changes_few_chunks() -> None:
    data = _noise(3, 4_000_000)
    moved = np.concatenate([data[:1_000_000], _noise(4, 100), data[1_000_000:]])
    before = {chunk.tobytes() for chunk in np.split(data, cut(data)[:-1])}
    after = [chunk.tobytes() for chunk in np.split(moved, cut(moved)[:-1])]
    assert sum(chunk not in before for chunk in after) <= 3


def test_the_average_is_about_64_kib() -> None:
    ends = cut(_noise(5, 8_000_000))
    assert 45_000 < 8_000_000 / len(ends) < 80_000
