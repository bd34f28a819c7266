"""One side, scaled."""

import numpy as np
import pytest

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Linear, Weights
from theta.strategies.passthrough import Passthrough
from theta_store.errors import UsageError

SIDES = normal((4, 5), 3).sides


@pytest.mark.parametrize("side", [0, 1, 2])
def test_it_is_the_side_to_the_bit(side: int) -> None:
    take = tuple(float(place == side) for place in range(3))
    merged = merge_arrays(Passthrough(take=take), SIDES)
    assert merged.tobytes() == SIDES[side].tobytes()


def test_scaled_is_rounded_once() -> None:
    strategy = Passthrough(take=(0, 1, 0), scale=0.1)
    assert np.array_equal(merge_arrays(strategy, SIDES), SIDES[1] * np.float32(0.1))
    assert strategy.linear(3, base=True) == Linear((0.0, 0.1, 0.0))


@pytest.mark.parametrize("take", [(), (0, 0, 0), (1, 1, 0), (0.5, 0.5, 0), (2, 0, 0)])
def test_one_side_must_be_chosen(take: Weights) -> None:
    with pytest.raises(UsageError, match="which side to take"):
        merge_arrays(Passthrough(take=take), SIDES)


def test_the_choice_must_be_among_all_sides() -> None:
    with pytest.raises(UsageError, match="2 takes for 3 sides"):
        merge_arrays(Passthrough(take=(1, 0)), SIDES)
