"""What is of low rank is seen and factorised; what is not is turned down."""

import numpy as np
import pytest

from tests.store.predictors.adapters import merged
from theta_store.arithmetic import widen
from theta_store.dtypes import DTYPES
from theta_store.predictors.factors import (
    bits_worth,
    factorise,
    left_factor,
    looks_low_rank,
    noise_level,
)


def _noise(update: object) -> float:
    return noise_level(widen(update.new, update.row)[:5000], update.row)


@pytest.mark.parametrize("name", ["F32", "BF16", "F16"])
@pytest.mark.parametrize(("rank", "decay"), [(1, 0.0), (4, 0.5), (8, 0.4), (16, 0.0), (32, 0.0)])
def test_the_rank_of_a_sample_is_that_of_the_update(name: str, rank: int, decay: float) -> None:
    update = merged(name, (300, 280), rank=rank, decay=decay)
    assert looks_low_rank(update.sample(), _noise(update)) == rank


def test_a_rank_of_64_is_seen_where_rounding_is_fine() -> None:
    update = merged("F32", (300, 280), rank=64, decay=0.0)
    assert looks_low_rank(update.sample(), _noise(update)) == 64


@pytest.mark.parametrize("seed", range(10))
def test_other_differences_have_no_rank(seed: int) -> None:
    random = np.random.default_rng(seed)
    square = random.standard_normal((96, 96))
    heavy = square @ np.diag(1 / np.arange(1, 97))
    few_rows = np.where(np.arange(96)[:, None] < 9, square, 0)
    for sub in (
        square,
        heavy,
        np.where(random.random((96, 96)) < 0.01, square, 0),
        few_rows,
        np.zeros((96, 96)),
        np.full((96, 96), np.nan),
        square[:1],
    ):
        for noise in (0.0, 0.003, 0.01):
            assert looks_low_rank(sub, noise) is None
    assert looks_low_rank(square * 1e-3, 1e-3) is None


@pytest.mark.parametrize("shape", [(300, 500), (700, 90), (64, 2000), (40, 40)])
@pytest.mark.parametrize("scale", [1.0, 1e-18, 1e30])
def test_factors_give_the_difference_back(shape: tuple[int, int], scale: float) -> None:
    random = np.random.default_rng(2)
    left, right = random.standard_normal((shape[0], 5)), random.standard_normal((5, shape[1]))
    difference = (left @ right * scale).astype(np.float32)
    before = difference.copy()
    for guess in (5, 3, 9):
        factors = factorise(difference, guess)
        assert factors is not None
        assert [factor.dtype for factor in factors] == [np.float32, np.float32]
        assert factors[0].shape == (shape[0], 5)
        product = factors[0].astype(np.float64) @ factors[1]
        assert np.abs(product - difference).max() <= 3e-7 * np.abs(difference).max()
    assert np.array_equal(difference, before)


def test_noise_decides_the_rank_where_there_is_no_gap() -> None:
    random = np.random.default_rng(4)
    sizes = np.exp(-0.6 * np.arange(12))
    signal = random.standard_normal((400, 12)) * sizes @ random.standard_normal((12, 400))
    noise = 0.02
    difference = (signal + noise * random.standard_normal((400, 400))).astype(np.float32)
    values = np.linalg.svd(signal, compute_uv=False)
    wanted = np.count_nonzero(values > 1.25 * noise * 40)
    factors = factorise(difference, 4, noise=noise)
    assert factors is not None
    assert abs(factors[0].shape[1] - wanted) <= 1


def test_nothing_of_low_rank_gives_no_factors() -> None:
    random = np.random.default_rng(4)
    assert factorise(random.standard_normal((300, 300)).astype(np.float32), 8) is None
    assert factorise(np.zeros((50, 60), np.float32), 8) is None


def test_numbers_that_are_none_do_not_spoil_the_others() -> None:
    update = merged("F32", (300, 280))
    difference = update.difference
    difference[3, 4], difference[100, 7], difference[8, 8] = np.nan, np.inf, -np.inf
    factors = factorise(difference, 8)
    assert factors is not None
    assert all(np.isfinite(factor).all() for factor in factors)


def test_the_left_factor_of_any_rows_is_found_from_the_right_one() -> None:
    random = np.random.default_rng(6)
    left = random.standard_normal((200, 5)).astype(np.float32)
    right = random.standard_normal((5, 300)).astype(np.float32)
    found = left_factor(left @ right, right)
    assert found.dtype == np.float32
    assert np.abs(found - left).max() < 1e-5
    holed = left @ right
    holed[7] = np.nan
    assert np.array_equal(left_factor(holed, right)[8:], found[8:])
    assert not left_factor(holed, right)[7].any()
    twice = np.concatenate([right, right])
    assert np.abs(left_factor(left @ right, twice) @ twice - left @ right).max() < 1e-4


def test_fewer_bits_end_in_zeros() -> None:
    update = merged("BF16", (300, 280))
    assert bits_worth(DTYPES["BF16"]) == 16
    factors = factorise(update.difference, 8, noise=_noise(update), bits=16)
    assert factors is not None
    largest = np.abs(factors[0]).max(axis=1, keepdims=True)
    steps = np.ldexp(1.0, np.frexp(largest)[1] - 16)
    assert np.array_equal(np.rint(factors[0] / steps) * steps, factors[0])
