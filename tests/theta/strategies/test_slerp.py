"""Along the arc: its ends, its angles, and where it is a straight line."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.strategies.branches import normal
from theta.strategies.arrays import merge_arrays
from theta.strategies.base import Strategy
from theta.strategies.slerp import MultiSlerp, NuSlerp, Slerp
from theta.strategies.values import Floats
from theta_store.errors import UsageError

SIDES = normal((6, 8), spread=1.0).sides
places = st.floats(0, 1)
ZEROS = np.array([[-0.0, 1.0], [1.0, -0.0]], np.float32)


def _angle(one: Floats, other: Floats) -> float:
    chord = np.linalg.norm(one / np.linalg.norm(one) - other / np.linalg.norm(other))
    return 2 * math.asin(chord / 2)


@pytest.mark.parametrize(
    ("at_first", "at_second"),
    [
        (Slerp(t=0), Slerp(t=1)),
        (Slerp(t=1, ends=(1, 0)), Slerp(t=0, ends=(1, 0))),
        (NuSlerp(weight=(1, 0)), NuSlerp(weight=(0, 1))),
        (NuSlerp(weight=(1, 0), vectors="columns"), NuSlerp(weight=(0, 1), vectors="columns")),
    ],
)
def test_at_the_ends_are_the_sides_to_the_bit(at_first: Strategy, at_second: Strategy) -> None:
    # Even a zero times nothing would change the sign of -0.
    sides = [np.append(side, ends) for side, ends in zip(SIDES, ZEROS, strict=True)]
    for strategy, side in ((at_first, sides[0]), (at_second, sides[1])):
        assert merge_arrays(strategy, sides).tobytes() == side.tobytes()


@given(places)
def test_of_equal_lengths_the_length_stays_and_the_angle_is_shared(t: float) -> None:
    one = SIDES[0].astype("f8")
    other = SIDES[1].astype("f8") * np.linalg.norm(SIDES[0]) / np.linalg.norm(SIDES[1])
    merged = merge_arrays(Slerp(t=t), [one, other])
    assert abs(np.linalg.norm(merged) / np.linalg.norm(one) - 1) < 1e-6
    assert abs(_angle(one, merged) - t * _angle(one, other)) < 1e-6


@given(places)
def test_nuslerp_by_weights_is_slerp_by_their_share(t: float) -> None:
    weighted = merge_arrays(NuSlerp(weight=(3 * (1 - t), 3 * t)), SIDES)
    assert np.abs(weighted - merge_arrays(Slerp(t=t), SIDES)).max() < 1e-6


@pytest.mark.parametrize("factor", [1.0, -1.0, 3.0, -0.5, 0.0])
@pytest.mark.parametrize("strategy", [Slerp(t=0.25), NuSlerp(weight=(3, 1))])
def test_parallel_opposite_and_zero_sides_are_joined_by_a_line(
    strategy: Strategy, factor: float
) -> None:
    other = np.float32(factor) * SIDES[0]
    expected = np.float32(0.75) * SIDES[0] + np.float32(0.25) * other
    assert np.array_equal(merge_arrays(strategy, [SIDES[0], other]), expected)


@pytest.mark.parametrize(
    ("strategy", "angle", "straight"),
    [
        (Slerp(t=0.25), 0.0316, True),
        (Slerp(t=0.25), 0.0317, False),
        (NuSlerp(weight=(3, 1)), 0.0316, False),
    ],
)
def test_the_line_begins_at_a_cosine(strategy: Strategy, angle: float, straight: bool) -> None:
    sides = [np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])]
    line = 0.75 * sides[0] + 0.25 * sides[1]
    assert np.array_equal(merge_arrays(strategy, sides), line) == straight


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_coefficients_are_float32(kind: str) -> None:
    sides = list(np.eye(2, dtype=kind))
    merged = merge_arrays(Slerp(t=0.3), sides)
    expected = [math.sin(0.7 * math.pi / 2), math.sin(0.3 * math.pi / 2)]
    assert np.array_equal(merged, np.array(expected, np.float32))


def test_where_squares_are_beyond_float64_the_angle_is_taken_as_right() -> None:
    sides = [np.full(3, 1e200), np.full(3, 2e200)]
    half = float(np.float32(math.sin(math.pi / 4)))
    assert np.array_equal(merge_arrays(Slerp(), sides), sides[0] * half + sides[1] * half)


@given(st.floats(-1e-4, 1e-4), places)
def test_nearly_opposite_sides_do_not_blow_up(off: float, t: float) -> None:
    other = -SIDES[0] + np.float32(off) * SIDES[1]
    merged = merge_arrays(Slerp(t=t), [SIDES[0], other])
    assert np.abs(merged).max() <= 1.01 * np.abs(SIDES[0]).max()


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_and_columns_are_merged_one_by_one(axis: int) -> None:
    strategy = NuSlerp(weight=(1, 3), vectors="columns" if axis == 0 else "rows")
    merged = merge_arrays(strategy, SIDES)
    for place in range(SIDES[0].shape[1 - axis]):
        vectors = [np.take(side, place, axis=1 - axis) for side in SIDES]
        alone = merge_arrays(NuSlerp(weight=(1, 3)), vectors)
        assert np.abs(np.take(merged, place, axis=1 - axis) - alone).max() < 1e-6


def test_rows_with_one_element_are_joined_by_a_line() -> None:
    """Two numbers are parallel or opposite."""
    sides = [side.reshape(-1, 1) for side in SIDES]
    merged = merge_arrays(NuSlerp(vectors="rows"), sides)
    assert np.array_equal(merged, np.float32(0.5) * sides[0] + np.float32(0.5) * sides[1])


@pytest.mark.parametrize("strategy", [NuSlerp(weight=(1, 3)), MultiSlerp(weight=(1, 3))])
def test_with_a_base_the_deltas_are_merged(strategy: Strategy) -> None:
    base = normal((6, 8), seed=5).base
    deltas = [side - base for side in SIDES]
    assert np.array_equal(
        merge_arrays(strategy, SIDES, base), merge_arrays(strategy, deltas) + base
    )
    plain = msgspec.structs.replace(strategy, deltas=False)
    assert np.array_equal(merge_arrays(plain, SIDES, base), merge_arrays(strategy, SIDES))


def test_weights_of_nuslerp_that_cancel_count_as_equal() -> None:
    cancelled = merge_arrays(NuSlerp(weight=(1, -1)), SIDES)
    assert np.array_equal(cancelled, merge_arrays(NuSlerp(), SIDES))


def test_multislerp_has_the_mean_length() -> None:
    sides = [side.astype("f8") for side in normal((6, 8), 3).sides]
    weights = np.array([0.2, 0.3, 0.5])
    merged = merge_arrays(MultiSlerp(weight=tuple(weights)), sides)
    lengths = [np.linalg.norm(side) for side in sides]
    assert abs(np.linalg.norm(merged) - weights @ lengths) < 1e-5


def test_multislerp_of_two_equal_lengths_is_the_middle_of_the_arc() -> None:
    one = SIDES[0].astype("f8")
    other = SIDES[1].astype("f8") * np.linalg.norm(SIDES[0]) / np.linalg.norm(SIDES[1])
    middle = merge_arrays(Slerp(), [one, other])
    assert np.abs(merge_arrays(MultiSlerp(), [one, other]) - middle).max() < 1e-6


def test_the_tangents_at_a_weighted_mean_cancel_out() -> None:
    """The reason why the formula of multislerp has no step along them."""
    units = np.array([side.reshape(-1) / np.linalg.norm(side) for side in SIDES], "f8")
    weights = np.array([0.2, 0.8])
    mean = weights @ units / np.linalg.norm(weights @ units)
    tangents = units - (units @ mean)[:, None] * mean
    assert np.abs(weights @ tangents).max() < 1e-7


def test_multislerp_of_directions_that_cancel_out_is_the_weighted_sum() -> None:
    merged = merge_arrays(MultiSlerp(), [SIDES[0], -SIDES[0] * np.float32(0.5)])
    assert np.abs(merged - 0.25 * SIDES[0]).max() < 1e-6
    zero = np.zeros_like(SIDES[0])
    assert not merge_arrays(MultiSlerp(), [zero, zero]).any()


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        (Slerp, {"t": 1.5}, "<= 1.0"),
        (Slerp, {"t": -0.1}, ">= 0.0"),
        (NuSlerp, {"vectors": "diagonals"}, "Invalid enum value"),
    ],
)
def test_parameters_out_of_bounds_are_refused(
    kind: type[Strategy], given: dict[str, object], problem: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(given, kind, strict=False)


@pytest.mark.parametrize(
    ("strategy", "count", "problem"),
    [
        (Slerp(), 3, "slerp does not merge 3 sides"),
        (NuSlerp(), 3, "nuslerp does not merge 3 sides"),
        (MultiSlerp(weight=(1, -1)), 2, "weights sum to 0"),
        (Slerp(ends=(0, 0)), 2, "ends are 0 for one side and 1 for the other"),
        (Slerp(ends=(0, 2)), 2, "ends are 0 for one side and 1 for the other"),
        (Slerp(ends=()), 2, "ends are 0 for one side and 1 for the other"),
    ],
)
def test_what_does_not_fit_the_sides_is_refused(
    strategy: Strategy, count: int, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        strategy.check(count)
