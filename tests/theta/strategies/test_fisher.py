"""Fisher-weighted means: who knows more decides, whatever the scale, the cut or the order."""

import hashlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from theta.strategies import STRATEGIES
from theta.strategies.arrays import ArrayEvidence, ArrayValues, merge_arrays
from theta.strategies.base import permuted
from theta.strategies.fisher import Fisher
from theta.strategies.values import philox_uniform
from theta_store.errors import UsageError

Array = NDArray[np.float32]

seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(16, 12), (33,), (8, 3, 5), (), (1,), (0, 4), (5, 1)])
floats = st.sampled_from([np.float32, np.float64])


def _sides(seed: int, shape: tuple[int, ...], count: int, dtype: type = np.float32) -> list[Array]:
    made = np.random.default_rng(seed).standard_normal((count, *shape))
    return [np.asarray(each, dtype) for each in made]


def _known(seed: int, shape: tuple[int, ...], count: int) -> list[Array]:
    return [each**2 for each in _sides(seed + 1, shape, count)]


def _merge(strategy: Fisher, sides: list[Array], known: list[Array], **more: int) -> Array:
    return merge_arrays(strategy, sides, statistics={"fisher": known}, **more)


@given(seeds, shapes, floats, st.integers(2, 4))
def test_equal_knowledge_gives_the_mean(
    seed: int, shape: tuple[int, ...], dtype: type, count: int
) -> None:
    sides = _sides(seed, shape, count, dtype)
    merged = _merge(Fisher(), sides, _known(seed, shape, 1) * count)
    assert merged.dtype == dtype
    assert merged.shape == shape
    np.testing.assert_allclose(merged, np.mean(sides, axis=0), rtol=1e-6, atol=1e-6)


@given(seeds, st.floats(1e-3, 1e3))
def test_the_formula_and_its_scale(seed: int, scale: float) -> None:
    sides, known = _sides(seed, (16, 12), 3), _known(seed, (16, 12), 3)
    plain = Fisher(floor=0, normalize=False)
    merged = _merge(plain, sides, known)
    total = np.sum([k.astype(np.float64) for k in known], axis=0)
    exact = np.sum([s.astype(np.float64) * k for s, k in zip(sides, known, strict=True)], axis=0)
    np.testing.assert_allclose(merged, exact / total, rtol=1e-5, atol=1e-6)
    scaled = _merge(plain, sides, [np.float32(scale) * each for each in known])
    np.testing.assert_allclose(merged, scaled, rtol=1e-4, atol=1e-5)


@given(seeds, st.floats(1e-3, 1e3))
def test_normalized_the_scale_of_one_side_is_immaterial(seed: int, scale: float) -> None:
    sides, known = _sides(seed, (16, 12), 2), _known(seed, (16, 12), 2)
    scaled = [known[0] * np.float32(scale), known[1]]
    plain, other = (_merge(Fisher(), sides, each) for each in (known, scaled))
    np.testing.assert_allclose(plain, other, rtol=1e-4, atol=1e-5)


def test_what_one_side_alone_knows_is_its_own() -> None:
    sides, known = _sides(0, (16, 12), 2), _known(0, (16, 12), 2)
    known[0][:8] = 0
    known[1][8:] = 0
    merged = _merge(Fisher(floor=0), sides, known)
    np.testing.assert_array_equal(merged[:8], sides[1][:8])
    np.testing.assert_array_equal(merged[8:], sides[0][8:])


def test_what_nobody_knows_is_the_weighted_mean_or_the_favoured_sides() -> None:
    sides, nothing = _sides(0, (16, 12), 2), [np.zeros((16, 12), np.float32)] * 2
    for floor in (0.0, 1e-6):
        merged = _merge(Fisher(floor=floor, weight=(1, 3)), sides, nothing)
        np.testing.assert_allclose(merged, (sides[0] + 3 * sides[1]) / 4, rtol=1e-5, atol=1e-6)
    favoured = _merge(Fisher(favor_target=(False, True)), sides, nothing)
    np.testing.assert_array_equal(favoured, sides[1])


@given(seeds, shapes, st.sampled_from([1, 7]))
def test_neither_cut_nor_order_can_be_seen(seed: int, shape: tuple[int, ...], cut: int) -> None:
    sides, known = _sides(seed, shape, 3), _known(seed, shape, 3)
    strategy = Fisher(weight=(0.3, 0.5, 0.7), favor_target=(True, False, True))
    merged = _merge(strategy, sides, known)
    np.testing.assert_array_equal(_merge(strategy, sides, known, cut=cut), merged)
    for order in ((2, 0, 1), (1, 0, 2)):
        turned = permuted(strategy, order)
        again = _merge(turned, [sides[n] for n in order], [known[n] for n in order])
        if order[2] == 2:  # two terms may be exchanged to the bit
            np.testing.assert_array_equal(again, merged)
        np.testing.assert_allclose(again, merged, rtol=1e-5, atol=1e-6)


@given(seeds, shapes)
def test_equal_sides_are_their_mean(seed: int, shape: tuple[int, ...]) -> None:
    (side,) = _sides(seed, shape, 1)
    merged = _merge(Fisher(), [side, side], _known(seed, shape, 2))
    np.testing.assert_allclose(merged, side, rtol=3e-7)


def test_the_norm_is_that_of_the_model() -> None:
    """A side whose Fisher information is large elsewhere counts less here."""
    sides, (known,) = _sides(0, (33,), 2), _known(0, (33,), 1)
    evidence = [ArrayEvidence(known, 1.0), ArrayEvidence(known, 3.0)]
    values = ArrayValues("w", sides, None, (), {"fisher": evidence})
    merged = Fisher(floor=0).prepare(values)(values.whole())
    np.testing.assert_allclose(merged, (3 * sides[0] + sides[1]) / 4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -1.0, 1e38, 1e-45])
def test_strange_knowledge_makes_no_nan(strange: float) -> None:
    sides = _sides(0, (4, 3), 2)
    known = [np.full((4, 3), strange, np.float32) for _ in sides]
    for floor in (0.0, 1e-6):
        merged = _merge(Fisher(floor=floor, normalize=False), sides, known)
        np.testing.assert_allclose(merged, np.mean(sides, axis=0), rtol=1e-5, atol=1e-6)


def test_statistics_are_left_as_they_are() -> None:
    sides, known = _sides(0, (16, 12), 2), _known(0, (16, 12), 2)
    before = [each.copy() for each in known]
    _merge(Fisher(), sides, known)
    np.testing.assert_array_equal(known, before)


def test_the_formula_is_frozen() -> None:
    sides = [philox_uniform(n, 0, 192) - np.float32(0.5) for n in range(3)]
    known = [np.square(philox_uniform(n, 0, 192)) for n in range(3, 6)]
    evidence = [ArrayEvidence(each, 2.0 + n) for n, each in enumerate(known)]
    values = ArrayValues("w", sides, None, (), {"fisher": evidence})
    merged = Fisher(weight=(0.3, 0.5, 0.7)).prepare(values)(values.whole())
    digest = hashlib.sha256(merged.astype("<f4").tobytes()).hexdigest()
    assert digest == "1f42c5a8b56ee9f358fea445ed5084a47a322bac2efd8684fbfbf5f07c98944d"


def test_what_does_not_fit_is_refused() -> None:
    sides = _sides(0, (4, 3), 2)
    with pytest.raises(UsageError, match="no fisher was given"):
        merge_arrays(Fisher(), sides)
    with pytest.raises(UsageError, match="has shape"):
        _merge(Fisher(), sides, _known(0, (3, 4), 2))
    for weight in ((-1.0, 1.0), (0.0, 0.0), (1.0,)):
        with pytest.raises(UsageError):
            Fisher(weight=weight).check(2)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"floor": -1}, Fisher, strict=False)
    read = msgspec.convert({"favor_target": ["1", "0"]}, STRATEGIES.get("fisher"), strict=False)
    assert read == Fisher(favor_target=(True, False))
