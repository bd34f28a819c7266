"""Merges of deltas are those that mergekit 0.1.5 and PEFT once answered."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.theta.strategies.delta_cases import CASES, SHAPES, Case, branches_of, fingerprint

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "strategies" / "deltas.json").read_text()
)


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_the_inputs_are_those_that_were_merged(place: int) -> None:
    assert fingerprint(branches_of(place)) == GOLDEN["inputs"][place]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_the_merge_is_the_kept_one(case: Case) -> None:
    for place, (shape, answer) in enumerate(
        zip(SHAPES, GOLDEN["answers"][case.label], strict=True)
    ):
        expected = np.frombuffer(bytes.fromhex(answer), "<f4").reshape(shape)
        assert case.agrees(case.merged(branches_of(place)), expected)
