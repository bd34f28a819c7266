"""RegMean and MaTS: the merged layer answers as all sides do on their own inputs."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from theta.strategies.arrays import merge_arrays
from theta.strategies.base import permuted
from theta.strategies.grams import ByInputs
from theta.strategies.mats import Mats
from theta.strategies.regmean import RegMean
from theta_store.errors import UsageError

Array = NDArray[np.floating]

OUT, IN = 7, 12
seeds = st.integers(0, 2**32 - 1)
both = pytest.mark.parametrize("strategy", [RegMean(alpha=1.0), Mats()])


def _sides(seed: int, count: int, shape: tuple[int, ...] = (OUT, IN)) -> list[Array]:
    return list(np.random.default_rng(seed).standard_normal((count, *shape)))


def _gram(seed: int, scale: float = 1.0) -> Array:
    chooser = np.random.default_rng(seed)
    inputs = scale * chooser.standard_normal((40, IN)) @ chooser.standard_normal((IN, IN))
    return inputs.T @ inputs / len(inputs)


def _merge(strategy: ByInputs, sides: list[Array], grams: list[Array], **more: int) -> Array:
    return merge_arrays(strategy, sides, statistics={"gram": grams}, **more)


@both
@given(seed=seeds, count=st.integers(2, 3))
def test_the_squared_error_has_no_slope(strategy: ByInputs, seed: int, count: int) -> None:
    sides, grams = _sides(seed, count), [_gram(seed + n) for n in range(count)]
    weight = (3.0, 5.0, 7.0)[:count]
    merged = _merge(msgspec.structs.replace(strategy, weight=weight), sides, grams)
    grams = [each * gram for each, gram in zip(weight, grams, strict=True)]
    slope = sum((merged - side) @ gram for side, gram in zip(sides, grams, strict=True))
    size = max(np.abs(side @ gram).max() for side, gram in zip(sides, grams, strict=True))
    assert np.abs(slope).max() <= 1e-8 * size


@both
@given(seed=seeds)
def test_equal_grams_give_the_mean(strategy: ByInputs, seed: int) -> None:
    sides = _sides(seed, 3)
    merged = _merge(strategy, sides, [_gram(seed)] * 3)
    np.testing.assert_allclose(merged, np.mean(sides, axis=0), rtol=1e-5, atol=1e-5)


@both
@given(seed=seeds)
def test_diagonal_grams_are_weights_of_the_inputs(strategy: ByInputs, seed: int) -> None:
    sides = _sides(seed, 2)
    known = np.random.default_rng(seed + 1).uniform(0.5, 2, (2, IN))
    merged = _merge(strategy, sides, [np.diag(each) for each in known])
    wanted = (sides[0] * known[0] + sides[1] * known[1]) / known.sum(axis=0)
    np.testing.assert_allclose(merged, wanted, rtol=1e-8, atol=1e-8)


def test_with_a_small_alpha_only_the_diagonal_counts() -> None:
    sides, grams = _sides(0, 2), [_gram(1), _gram(2)]
    merged = _merge(RegMean(alpha=1e-12), sides, grams)
    diagonal = _merge(RegMean(), sides, [np.diag(np.diag(each)) for each in grams])
    np.testing.assert_allclose(merged, diagonal, rtol=1e-8, atol=1e-8)
    assert np.abs(_merge(RegMean(alpha=0.9), sides, grams) - merged).max() > 1e-2


@both
def test_an_input_that_was_always_zero_leaves_the_mean(strategy: ByInputs) -> None:
    sides, grams = _sides(0, 2), [_gram(1), _gram(2)]
    for gram in grams:
        gram[3] = gram[:, 3] = 0
    merged = _merge(strategy, sides, grams)
    np.testing.assert_allclose(merged[:, 3], (sides[0] + sides[1])[:, 3] / 2, rtol=1e-12)
    nothing = _merge(strategy, sides, [np.zeros((IN, IN))] * 2)
    np.testing.assert_allclose(nothing, (sides[0] + sides[1]) / 2, rtol=1e-12)


@both
@given(seed=seeds)
def test_fewer_inputs_than_features(strategy: ByInputs, seed: int) -> None:
    """Gram matrices of a low rank, in float32, are nothing to stumble over."""
    sides = [each.astype(np.float32) for each in _sides(seed, 2)]
    inputs = [each.astype(np.float32) for each in _sides(seed + 1, 2, (3, IN))]
    merged = _merge(strategy, sides, [each.T @ each / 3 for each in inputs])
    for side, each in zip(sides, inputs, strict=True):
        np.testing.assert_allclose(merged @ each.T, side @ each.T, rtol=1e-2, atol=1e-2)
    assert np.abs(merged).max() < 1e5


@pytest.mark.parametrize("seed", [2815, 2934])
def test_mats_goes_no_way_that_is_only_rounding(seed: int) -> None:
    sides = [each.astype(np.float32) for each in _sides(seed, 2)]
    inputs = [each.astype(np.float32) for each in _sides(seed + 1, 2, (3, IN))]
    merged = _merge(Mats(), sides, [each.T @ each / 3 for each in inputs])
    assert np.abs(merged).max() < 10
    for side, each in zip(sides, inputs, strict=True):
        np.testing.assert_allclose(merged @ each.T, side @ each.T, rtol=1e-4, atol=1e-4)


@both
def test_a_transposed_layer(strategy: ByInputs) -> None:
    sides, grams = _sides(0, 2), [_gram(1), _gram(2)]
    turned = msgspec.structs.replace(strategy, transposed=True)
    merged = _merge(turned, [side.T for side in sides], grams)
    np.testing.assert_array_equal(merged, _merge(strategy, sides, grams).T)


@pytest.mark.parametrize(
    "strategy", [RegMean(weight=(0.3, 0.5, 0.7)), Mats(weight=(0.3, 0.5, 0.7))]
)
def test_neither_cut_nor_order_can_be_seen(strategy: ByInputs) -> None:
    sides, grams = _sides(0, 3), [_gram(n) for n in range(3)]
    merged = _merge(strategy, sides, grams)
    for cut in (1, 7):
        np.testing.assert_array_equal(_merge(strategy, sides, grams, cut=cut), merged)
    order = (2, 0, 1)
    turned = permuted(strategy, order)
    again = _merge(turned, [sides[n] for n in order], [grams[n] for n in order])
    np.testing.assert_allclose(again, merged, rtol=1e-9, atol=1e-9)
    scaled = msgspec.structs.replace(strategy, weight=tuple(9 * w for w in strategy.weight))
    np.testing.assert_allclose(_merge(scaled, sides, grams), merged, rtol=1e-9, atol=1e-9)


@both
@pytest.mark.parametrize("shape", [(), (5,), (0, IN), (3, 2, 2), (0,)])
def test_what_is_no_matrix_is_the_weighted_mean(strategy: ByInputs, shape: tuple[int, ...]) -> None:
    sides = _sides(0, 2, shape)
    weighted = msgspec.structs.replace(strategy, weight=(1, 3))
    merged = merge_arrays(weighted, sides)
    np.testing.assert_allclose(merged, sides[0] / 4 + sides[1] * 3 / 4, rtol=1e-12)


@both
def test_one_input_and_huge_values(strategy: ByInputs) -> None:
    sides = _sides(0, 2, (OUT, 1))
    merged = _merge(strategy, sides, [np.array([[1.0]]), np.array([[3.0]])])
    np.testing.assert_allclose(merged, (sides[0] + 3 * sides[1]) / 4, rtol=1e-9)
    huge = [np.full((OUT, IN), sign * 3e38, np.float32) for sign in (1, 1)]
    assert _merge(strategy, huge, [_gram(1), _gram(2)]).dtype == np.float32
    huge = [np.full((OUT, IN), sign * 1.7e308) for sign in (1, 1, -1)]
    assert np.isfinite(_merge(strategy, huge, [_gram(n) for n in range(3)])).all()


def test_more_iterations_come_nearer() -> None:
    sides, grams = _sides(0, 2), [_gram(1), _gram(2)]
    goal = _merge(RegMean(alpha=1.0), sides, grams)
    off = [np.abs(_merge(Mats(iterations=n), sides, grams) - goal).max() for n in (1, 5, 40)]
    assert off[0] > off[1] > 1e3 * off[2]


def test_what_does_not_fit_is_refused() -> None:
    sides = _sides(0, 2)
    with pytest.raises(UsageError, match="no gram was given"):
        merge_arrays(RegMean(), sides)
    with pytest.raises(UsageError, match="see transposed"):
        _merge(RegMean(), sides, [np.eye(OUT)] * 2)
    with pytest.raises(UsageError, match="finite inputs"):
        _merge(RegMean(), sides, [np.full((IN, IN), np.nan)] * 2)
    with pytest.raises(UsageError, match="finite inputs"):
        _merge(RegMean(), sides, [-np.eye(IN)] * 2)
    with pytest.raises(UsageError, match="not positive"):
        _merge(RegMean(), sides, [5 - 4 * np.eye(IN)] * 2)
    with pytest.raises(UsageError):
        RegMean(weight=(-1, 2)).check(2)
    for wrong in ({"alpha": 0}, {"alpha": 1.5}, {"alphas": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, RegMean, strict=False)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"iterations": 0}, Mats, strict=False)
