"""Bytes that are the same are told from such that differ anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.kernels import is_same
from theta_store.kernels.portable import FIRST

pytestmark = pytest.mark.usefixtures("loops")


@given(st.binary(max_size=40), st.data())
def test_runs_are_the_same_only_if_every_byte_is(plain: bytes, data: st.DataObject) -> None:
    source = np.frombuffer(plain, np.uint8)
    assert is_same(source.copy(), source)
    assert not is_same(np.append(source, np.uint8(0)), source)
    if plain:
        other = source.copy()
        other[data.draw(st.integers(0, len(plain) - 1))] ^= 1
        assert not is_same(other, source)


@pytest.mark.parametrize("place", [0, FIRST - 1, FIRST, 2 * FIRST + 1, 3 * FIRST + 4])
def test_they_are_compared_to_their_end(place: int) -> None:
    source = np.zeros(3 * FIRST + 5, np.uint8)
    other = source.copy()
    other[place] = 1
    assert is_same(source.copy(), source)
    assert not is_same(other, source)
    # At an odd address in memory, too.
    assert not is_same(np.append(np.uint8(0), other)[1:], source)
