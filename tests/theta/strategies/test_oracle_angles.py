"""Merges by angles and by nearness are those of mergekit 0.1.5: kept values, and live ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.theta.strategies.angle_cases import CASES, SHAPES, WITHIN, Case, branches_of
from theta.strategies.values import Floats

GOLDEN = Path(__file__).parents[2] / "golden" / "strategies" / "angles.json"
every = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.label} base={case.base}")
shapes = pytest.mark.parametrize("place", range(len(SHAPES)), ids=lambda place: str(SHAPES[place]))


def _off(merged: Floats, expected: Floats) -> float:
    """Return the greatest difference as a part of the greatest element."""
    return float(np.abs(merged - expected).max() / np.abs(expected).max())


@every
@shapes
def test_the_merge_is_the_kept_one(case: Case, place: int) -> None:
    kept = json.loads(GOLDEN.read_text())["float32"]
    expected = np.frombuffer(
        bytes.fromhex(kept[f"{case.label} base={case.base} {SHAPES[place]}"]), "<f4"
    )
    assert _off(case.merged(branches_of(place)).reshape(-1), expected) <= WITHIN


@every
@shapes
def test_the_merge_is_mergekits(case: Case, place: int) -> None:
    pytest.importorskip("mergekit")
    from tests.theta.strategies.oracle.angles import mergekit

    branches = branches_of(place)
    merged = case.merged(branches)
    assert merged.dtype == np.float32
    assert _off(merged, mergekit(case, branches)) <= WITHIN
    # Its own float32 differs from its float64 by up to three bits.
    assert _off(merged, mergekit(case, branches, np.float32)) <= 5e-7
