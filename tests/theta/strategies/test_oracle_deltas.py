"""Merges of deltas are those of mergekit 0.1.5 and PEFT, where these are installed."""

import pytest

from tests.theta.strategies.delta_cases import CASES, SHAPES, Case, branches_of

pytest.importorskip("mergekit")
pytest.importorskip("peft")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.parametrize("place", range(len(SHAPES)), ids=lambda place: str(SHAPES[place]))
def test_the_merge_is_the_oracles(case: Case, place: int) -> None:
    from tests.theta.strategies.oracle import deltas

    branches = branches_of(place)
    expected = deltas.answer(case, branches)
    assert case.agrees(case.merged(branches), expected)
