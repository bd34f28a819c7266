"""Factors are ratios of L1 norms, and 1 where there is no such ratio."""

import numpy as np
import pytest

from theta.strategies.rescaling import Rescaling, norm_ratios

KEPT = np.array([True, False, True, False])


def test_factors_are_ratios_over_all_runs() -> None:
    deltas = np.array([1, -2, -3, 4], "f4"), np.array([1, 1, 1, 5], "f4")
    runs = [([each[part] for each in deltas], [KEPT[part]] * 2) for part in (slice(3), slice(3, 4))]
    assert norm_ratios(2, runs) == (10 / 4, 8 / 2)


@pytest.mark.parametrize(
    "delta",
    [
        [0, 1, 0, 1],
        [0, 0, 0, 0],
        [np.finfo("f8").max] * 4,
        [1, np.inf, 1, 1],
        [1e-300, 1e300, 0, 0],
    ],
    ids=str,
)
def test_without_a_finite_ratio_the_factor_is_one(delta: list[float]) -> None:
    assert norm_ratios(1, [([np.array(delta)], [KEPT])]) == (1.0,)


def test_each_side_has_its_factor() -> None:
    delta = np.array([1, 2], "f4")
    Rescaling(factors=(2.0, 3.0)).apply(1, delta)
    assert list(delta) == [3, 6]
    Rescaling(divisor=3.0).apply(0, delta)
    assert list(delta) == [1, 2]
    Rescaling().apply(0, delta)
    assert list(delta) == [1, 2]
