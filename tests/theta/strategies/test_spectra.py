"""TSV-M, Iso-C and KnOTS: what singular vectors make of the sides' differences."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from theta.strategies import STRATEGIES
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import permuted
from theta.strategies.iso_c import IsoC
from theta.strategies.knots import Knots
from theta.strategies.spectra import BySpectrum, spectrum
from theta.strategies.tsv_m import TsvM

Array = NDArray[np.floating]

seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(16, 12), (9, 20), (5, 1), (1, 6), (2, 2)])
every = pytest.mark.parametrize(
    "strategy", [TsvM(), IsoC(), Knots(), Knots(method="task-arithmetic")]
)


def _terms(seed: int, count: int, shape: tuple[int, ...]) -> tuple[list[Array], Array]:
    made = np.random.default_rng(seed).standard_normal((count + 1, *shape))
    return [np.asarray(each) for each in made[1:]], np.asarray(made[0])


def _singular(matrix: Array) -> Array:
    return np.linalg.svd(matrix, compute_uv=False)


@given(seeds, shapes)
def test_tsv_m_of_one_side_is_that_side(seed: int, shape: tuple[int, ...]) -> None:
    (side,), base = _terms(seed, 1, shape)
    np.testing.assert_allclose(merge_arrays(TsvM(), [side], base), side, rtol=1e-9, atol=1e-9)


@given(seeds)
def test_tsv_m_keeps_sides_of_orthogonal_low_rank(seed: int) -> None:
    """What already lies apart is the sum."""
    chooser = np.random.default_rng(seed)
    left, right = (np.linalg.qr(chooser.standard_normal((n, n)))[0] for n in (16, 12))
    values = chooser.uniform(1, 2, 8)
    parts = [(left[:, s] * values[s]) @ right[:, s].T for s in (slice(0, 4), slice(4, 8))]
    merged = merge_arrays(TsvM(), parts, np.zeros((16, 12)))
    np.testing.assert_allclose(merged, sum(parts), atol=1e-9)


@given(seeds)
def test_tsv_m_has_the_sides_singular_values(seed: int) -> None:
    sides, base = _terms(seed, 2, (16, 12))
    merged = merge_arrays(TsvM(), sides, base) - base
    kept = np.concatenate([_singular(side - base)[:6] for side in sides])
    np.testing.assert_allclose(_singular(merged), np.sort(kept)[::-1], rtol=1e-9)


@given(seeds)
def test_tsv_m_of_equal_sides_is_their_strongest_half(seed: int) -> None:
    (side,), base = _terms(seed, 1, (16, 12))
    parts = spectrum(side - base)
    wanted = base + (parts.left[:, :6] * parts.values[:6]) @ parts.right[:6]
    np.testing.assert_allclose(merge_arrays(TsvM(), [side, side], base), wanted, atol=1e-9)


@given(seeds, st.integers(2, 4))
def test_iso_c_is_as_strong_in_each_direction(seed: int, count: int) -> None:
    sides, base = _terms(seed, count, (16, 12))
    wanted = _singular(sum(side - base for side in sides)).mean()
    merged = merge_arrays(IsoC(alpha=1.5), sides, base) - base
    np.testing.assert_allclose(_singular(merged), 1.5 * wanted, rtol=1e-9)


def test_iso_c_gives_nothing_to_directions_without_a_change() -> None:
    low = np.outer(np.arange(16.0), np.ones(12))
    np.testing.assert_allclose(
        merge_arrays(IsoC(), [low, low], np.zeros((16, 12))), 2 * low, atol=1e-9
    )


@given(seeds, shapes, st.integers(2, 3))
def test_knots_and_linear_is_linear(seed: int, shape: tuple[int, ...], count: int) -> None:
    sides, base = _terms(seed, count, shape)
    weight = (0.3, 0.5, 0.7)[:count]
    strategy = Knots(method="task-arithmetic", weight=weight, alpha=0.5)
    wanted = base + 0.5 * sum(w * (side - base) for w, side in zip(weight, sides, strict=True))
    np.testing.assert_allclose(merge_arrays(strategy, sides, base), wanted, atol=1e-9)


@given(seeds)
def test_knots_and_ties_without_trimming(seed: int) -> None:
    """The same ties, in the common directions."""
    sides, base = _terms(seed, 2, (9, 5))
    deltas = [side - base for side in sides]
    parts = spectrum(np.concatenate(deltas, axis=1))
    rights = np.split(parts.right, 2, axis=1)
    ties = msgspec.convert({"density": 0.4}, STRATEGIES.get("ties"))
    right = merge_arrays(ties, rights, np.zeros_like(rights[0]))
    wanted = base + (parts.left * parts.values) @ right
    merged = merge_arrays(Knots(density=0.4), sides, base)
    np.testing.assert_allclose(merged, wanted, atol=1e-9)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_cut_nor_order_can_be_seen(strategy: BySpectrum, dtype: type) -> None:
    sides, base = _terms(0, 3, (16, 12))
    sides, base = [side.astype(dtype) for side in sides], base.astype(dtype)
    if isinstance(strategy, Knots):
        strategy = msgspec.structs.replace(strategy, weight=(0.3, 0.5, 0.7), density=1.0)
    merged = merge_arrays(strategy, sides, base)
    assert merged.dtype == dtype
    for cut in (1, 7):
        np.testing.assert_array_equal(merge_arrays(strategy, sides, base, cut=cut), merged)
    order = (2, 0, 1)
    again = merge_arrays(permuted(strategy, order), [sides[n] for n in order], base)
    np.testing.assert_allclose(again, merged, atol=1e-4 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("strategy", [TsvM(alpha=0.5), IsoC(alpha=0.5)])
@pytest.mark.parametrize("shape", [(), (33,), (8, 3, 5), (0,), (0, 4), (4, 0)])
def test_what_is_no_matrix_gets_the_mean(strategy: BySpectrum, shape: tuple[int, ...]) -> None:
    sides, base = _terms(0, 3, shape)
    wanted = base + 0.5 * np.mean([side - base for side in sides], axis=0)
    np.testing.assert_allclose(merge_arrays(strategy, sides, base), wanted, rtol=1e-9)


def test_a_matrix_too_thin_for_all_sides_gets_the_mean() -> None:
    sides, base = _terms(0, 3, (2, 9))
    wanted = base + np.mean([side - base for side in sides], axis=0)
    np.testing.assert_allclose(merge_arrays(TsvM(), sides, base), wanted, rtol=1e-9)


@every
@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (1, 1), (5, 1), (1, 5), (4, 4), (2, 2, 2)])
def test_no_change_is_no_change(strategy: BySpectrum, shape: tuple[int, ...]) -> None:
    _, base = _terms(0, 2, shape)
    np.testing.assert_array_equal(merge_arrays(strategy, [base, base], base), base)


@every
def test_huge_values_are_no_error(strategy: BySpectrum) -> None:
    huge = [np.full((4, 4), sign * 3e38, np.float32) for sign in (1, -1, 1)]
    zeros = np.zeros((4, 4), np.float32)
    for sides, base in ((huge[1:], huge[0]), (huge[:2], zeros), (huge[::2], zeros)):
        assert merge_arrays(strategy, sides, base).shape == (4, 4)


def test_bounds() -> None:
    for wrong, kind in (({"alpha": 0}, TsvM), ({"alpha": -1}, IsoC), ({"method": "x"}, Knots)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, kind, strict=False)
