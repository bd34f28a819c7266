"""The picking strategies settle whatever the conflict is, and compute nothing."""

from typing import get_args

import msgspec
import numpy as np
import pytest

from theta.strategies.base import ConflictKind, Strategy
from theta.strategies.pick import Base, Ours, Theirs

PICKS = [Ours, Theirs, Base]


@pytest.mark.parametrize("pick", PICKS)
def test_every_kind_of_conflict_is_settled(pick: type[Strategy]) -> None:
    assert pick.kinds == set(get_args(ConflictKind))


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_any_number_of_sides_is_settled(pick: type[Strategy], count: int) -> None:
    pick().check(count)


def test_only_the_base_needs_one() -> None:
    assert [pick.needs.base for pick in PICKS] == [False, False, True]


@pytest.mark.parametrize("pick", PICKS)
def test_there_are_no_parameters(pick: type[Strategy]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"weight": [1]}, pick, strict=False)


@pytest.mark.parametrize("pick", PICKS)
def test_nothing_is_computed(pick: type[Strategy]) -> None:
    from theta.strategies.arrays import ArrayValues

    one = np.zeros(1, np.float32)
    with pytest.raises(NotImplementedError):
        pick().prepare(ArrayValues("w", [one, one], one, [0, 0]))
    assert pick().linear(2, base=True) is None
