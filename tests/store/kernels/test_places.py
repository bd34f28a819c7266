"""Where flags are set: what numpy finds, at every density and length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.kernels.places import FEW, MANY, places


@given(st.lists(st.booleans(), max_size=70), st.integers(0, 9))
def test_it_finds_what_numpy_finds(flags: list[bool], skipped: int) -> None:
    array = np.array([False] * FEW + flags, np.bool_)[skipped:]
    assert places(array).tolist() == np.flatnonzero(array).tolist()


@pytest.mark.parametrize("density", [0, 0.0005, MANY - 0.01, MANY, MANY + 0.01, 0.5, 1])
@pytest.mark.parametrize("length", [0, 1, FEW, FEW + 1, FEW + 4, 2 * FEW + 3])
def test_it_finds_them_at_every_density(density: float, length: int) -> None:
    array = np.random.default_rng(length).random(length) < density
    assert places(array).tolist() == np.flatnonzero(array).tolist()
