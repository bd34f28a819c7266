"""Strategies as they are typed: parameters, weights by side, gradients over layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.merge.choice import Choice, Site, parse_choice
from theta_store.errors import UsageError

PAIR = Site(("main", "rte"))


def _weights(text: str, site: Site = PAIR) -> tuple[float, ...]:
    settled = parse_choice(f"linear weight={text}").settle(site)
    return tuple(settled.weight)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("0.5", (0.5, 0.5)),
        ("1,3", (1, 3)),
        ("ours:0.6,rte:0.4", (0.6, 0.4)),
        ("theirs:0.4,main:0.6", (0.6, 0.4)),
        ("rte:-1,ours:2", (2, -1)),
    ],
)
def test_weights_by_name_in_order_or_one_for_all(text: str, weights: tuple[float, ...]) -> None:
    assert _weights(text) == weights


def test_ours_and_theirs_are_the_first_two_whatever_branches_are_called() -> None:
    swapped = Site(("theirs", "ours", "third"))
    assert _weights("ours:1,theirs:2,third:3", swapped) == (1, 2, 3)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=5), st.floats(0, 1))
def test_a_gradient_lies_on_lines_between_its_points(points: list[float], depth: float) -> None:
    text = ",".join(map(repr, points))
    (value, _) = _weights(f"ours:gradient({text}),theirs:1", Site(("main", "rte"), depth))
    place = depth * (len(points) - 1)
    near = [p for n, p in enumerate(points) if abs(n - place) <= 1]
    assert min(near) - 1e-9 <= value <= max(near) + 1e-9
    if place == int(place):
        assert value == points[int(place)]


def test_a_choice_is_spelled_as_it_was_typed() -> None:
    text = "linear weight=ours:gradient(0,1),rte:0.4 normalize=false"
    choice = parse_choice(text)
    assert str(choice) == text
    assert parse_choice(str(choice)) == choice
    assert choice.settle(Site(("main", "rte"), 0.25)).weight == (0.25, 0.4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a strategy is expected"),
        ("nonsense", "unknown strategy 'nonsense'"),
        ("ours density=0.2", "ours has no 'density'; it takes no parameters"),
        ("union-rows shape=pad", "union-rows has no 'shape'; it takes no parameters"),
        ("linear density=0.2", "linear has no 'density'; it takes weight, normalize, shape"),
        ("linear shape=crop", "linear shape=crop is not allowed"),
        ("linear weight", "name=value is expected, not 'weight'"),
        ("linear weight=", "name=value is expected"),
        ("linear weight=1 weight=2", "a parameter is given twice"),
        ("linear weight=some", "linear weight=some is not allowed: expected float"),
        ("linear weight=nan", "not a finite number"),
        ("linear weight=gradient(0,inf)", "not a finite number"),
        ("linear weight=gradient()", "is not allowed"),
        ("linear normalize=7", "linear normalize=7 is not allowed: expected bool"),
        ("ties density=0", "ties density=0 is not allowed"),
        ("ties density=1.5", "ties density=1.5 is not allowed"),
        ("ties density=gradient(0.5,1.5)", "ties density=gradient(0.5,1.5) is not allowed"),
    ],
)
def test_what_no_merge_could_use_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_choice(text, "rule 7")
    assert caught.value.message.startswith("rule 7: ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ours:1", "weight names no value for rte"),
        ("ours:1,mnli:2", "'mnli' is no side; there are ours, theirs, main, rte"),
        ("1,2,3", "3 values of weight for main, rte"),
        ("ours:1,2", "'2' is no side"),
    ],
)
def test_sides_that_a_merge_does_not_have(text: str, words: str) -> None:
    choice = parse_choice(f"linear weight={text}", "rule 7")
    with pytest.raises(UsageError, match=f"rule 7: .*{words}"):
        choice.settle(PAIR)


def test_weights_that_sum_to_0() -> None:
    choice = parse_choice("linear weight=1,-1", "rule 7")
    with pytest.raises(UsageError, match="rule 7: linear: the weights sum to 0"):
        choice.check(choice.settle(PAIR), 2)


def test_where_it_was_typed_does_not_matter_for_equality() -> None:
    assert parse_choice("average", "here") == Choice("average")
