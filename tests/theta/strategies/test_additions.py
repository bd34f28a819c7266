"""A few numbers are added alike by every Python; what divides by their sum is replayed alike."""

import math

from hypothesis import given
from hypothesis import strategies as st

from theta.strategies.additions import added
from theta.strategies.base import shares_of

numbers = st.lists(st.floats(allow_nan=False), max_size=6)
# What a sum that carries the rounding along makes 1 + 2⁻⁵².
LOST = (1.0, 2.0**-53, 2.0**-53)


@given(numbers)
def test_each_is_added_to_what_was_before(found: list[float]) -> None:
    total = 0.0
    for number in found:
        total = total + number
    assert added(found).hex() == total.hex()


def test_what_rounding_loses_stays_lost() -> None:
    assert added(LOST) == 1.0 < math.fsum(LOST)
    assert shares_of(LOST, 3, "average") == LOST
