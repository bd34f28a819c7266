"""A guess that is the very bytes is told from one that differs anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta_store.packing import FIRST, _is_same


@given(st.binary(max_size=40), st.data())
def test_a_guess_is_the_same_only_if_every_byte_is(plain: bytes, data: st.DataObject) -> None:
    source = np.frombuffer(plain, np.uint8)
    assert _is_same(source.copy(), source)
    assert not _is_same(np.append(source, np.uint8(0)), source)
    if plain:
        other = source.copy()
        other[data.draw(st.integers(0, len(plain) - 1))] ^= 1
        assert not _is_same(other, source)


@pytest.mark.parametrize("place", [0, FIRST - 1, FIRST, 2 * FIRST + 1, 3 * FIRST + 4])
def test_it_is_compared_to_its_end(place: int) -> None:
    source = np.zeros(3 * FIRST + 5, np.uint8)
    other = source.copy()
    other[place] = 1
    assert _is_same(source.copy(), source)
    assert not _is_same(other, source)
    # At an odd address in memory, too.
    assert not _is_same(np.append(np.uint8(0), other)[1:], source)
