"""DELLA keeps great changes more likely than small ones of the same row."""

import numpy as np
import pytest

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.della import Della, DellaLinear
from theta.strategies.task_arithmetic import TaskArithmetic
from theta.strategies.ties import Ties

ROWS, LENGTH = 4000, 5


def _kept(delta: np.ndarray, **parameters: float) -> np.ndarray:
    zeros = np.zeros_like(delta)
    strategy = DellaLinear(rescale="none", **parameters)
    return merge_arrays(strategy, [delta, zeros], zeros) != 0


def test_a_density_of_one_drops_nothing() -> None:
    branches, weight = normal((16, 12), 3), (0.3, 0.5, 0.7)
    terms = branches.terms
    whole = merge_arrays(TaskArithmetic(weight=weight), *terms)
    assert np.array_equal(merge_arrays(DellaLinear(weight=weight), *terms), whole)
    elected = merge_arrays(Ties(weight=weight), *terms)
    assert np.array_equal(merge_arrays(Della(weight=weight), *terms), elected)


@pytest.mark.parametrize("trailing", [(), (1,)], ids=str)
def test_chances_grow_with_the_rank_in_the_row(trailing: tuple[int, ...]) -> None:
    sizes = np.array([3, -1, 5, 2, -4], "f4")
    delta = np.broadcast_to(sizes, (ROWS, LENGTH)).reshape(ROWS, LENGTH, *trailing).copy()
    shares = _kept(delta, density=0.5, epsilon=0.2).reshape(ROWS, LENGTH).mean(axis=0)
    assert np.abs(shares - [0.5, 0.3, 0.7, 0.4, 0.6]).max() < 0.05


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_of_equal_magnitudes_the_first_has_the_lowest_rank(kind: str) -> None:
    delta = np.tile(np.array([1, 2], kind), 200_000).reshape(1, -1)
    small = _kept(delta, density=0.5, epsilon=0.2)[0, ::2].reshape(5, -1)
    assert np.abs(small.mean(axis=1) - [0.32, 0.36, 0.4, 0.44, 0.48]).max() < 0.015


@pytest.mark.parametrize("shape", [(20_000, 1), (20_000, 1, 1)], ids=str)
def test_an_element_that_is_its_row_is_kept_by_the_density(shape: tuple[int, ...]) -> None:
    assert abs(float(_kept(np.ones(shape, "f4"), density=0.6).mean()) - 0.6) < 0.03


def test_a_vector_is_one_row() -> None:
    delta = np.arange(1, 40_001, dtype="f4")
    kept = _kept(delta, density=0.5, epsilon=0.4)
    assert float(kept[:4000].mean()) < 0.2 < 0.8 < float(kept[-4000:].mean())


def test_rows_that_a_cut_divides_are_ranked_whole() -> None:
    branches = normal((7, 11, 3))
    for strategy in (Della(density=0.6), DellaLinear(density=0.6)):
        results = {
            merge_arrays(strategy, *branches.terms, cut=cut).tobytes()
            for cut in (1, 5, 33, 50, None)
        }
        assert len(results) == 1
