"""DARE drops by its own random numbers and makes up for what is dropped."""

import numpy as np
import pytest

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.dare import Dare, DareTies
from theta.strategies.task_arithmetic import TaskArithmetic
from theta.strategies.ties import Ties

ONE = np.zeros((200, 500), "f4")


def _delta(strategy: Dare, delta: np.ndarray, *, name: str = "w", seed: int = 0) -> np.ndarray:
    """Merge a side that changed with one that did not, on a base of zeros."""
    return merge_arrays(strategy, [delta, ONE], ONE, name=name, seed=seed)


def test_a_density_of_one_drops_nothing() -> None:
    branches, weight = normal((64, 48), 3), (0.3, 0.5, 0.7)
    terms = branches.terms
    whole = merge_arrays(TaskArithmetic(weight=weight), *terms)
    assert np.array_equal(merge_arrays(Dare(weight=weight), *terms), whole)
    elected = merge_arrays(Ties(weight=weight, normalize=False), *terms)
    assert np.array_equal(merge_arrays(DareTies(weight=weight), *terms), elected)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_share_that_is_kept_is_the_density(density: float) -> None:
    merged = _delta(Dare(density=density, rescale="none"), ONE + 1)
    # Six standard deviations of 100,000 draws.
    near = 6 * np.sqrt(density * (1 - density) / ONE.size)
    assert abs(float(np.count_nonzero(merged)) / ONE.size - density) < near


def test_norms_are_kept_by_l1_and_on_average_by_the_inverse() -> None:
    delta = normal(ONE.shape, 1).deltas[0]
    norm = float(np.abs(delta, dtype="f8").sum())
    exact = _delta(Dare(density=0.3), delta)
    assert float(np.abs(exact, dtype="f8").sum()) == pytest.approx(norm, rel=1e-6)
    expected = _delta(Dare(density=0.3, rescale="inverse"), delta)
    assert float(np.abs(expected, dtype="f8").sum()) == pytest.approx(norm, rel=0.02)
    kept = expected != 0
    assert np.array_equal(expected[kept], delta[kept] / np.float32(0.3))


def test_the_mean_of_many_draws_is_the_delta() -> None:
    branches = normal((50,), spread=1)
    whole = merge_arrays(TaskArithmetic(), *branches.terms)
    draws = [
        merge_arrays(Dare(density=0.5, rescale="inverse"), *branches.terms, seed=seed)
        for seed in range(2000)
    ]
    assert np.abs(np.mean(draws, axis=0, dtype="f8") - whole).max() < 0.25


def test_names_seeds_and_sides_draw_apart() -> None:
    strategy = Dare(density=0.5, rescale="none")
    first = _delta(strategy, ONE + 1)
    assert np.array_equal(first, _delta(strategy, ONE + 1))
    others = [
        _delta(strategy, ONE + 1, seed=1),
        _delta(strategy, ONE + 1, name="v"),
        merge_arrays(strategy, [ONE, ONE + 1], ONE, name="w"),
    ]
    for other in others:
        assert 0.45 < float((first == other).mean()) < 0.55


def test_when_all_is_dropped_the_base_stays() -> None:
    base = np.array([3.0], "f4")
    sides = [base + 1, base + 2]
    strategy = Dare(density=1e-7)
    assert np.array_equal(merge_arrays(strategy, sides, base), base)
