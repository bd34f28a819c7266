"""The grid of a search: evenly spaced values, lists, and where they are put."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.merge import Method, parse_axis, parse_choice, parse_rule, trials_of
from theta_store.errors import UsageError

ends = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.6g}"))


def test_the_example_of_the_help() -> None:
    assert parse_axis("lambda=0.1..1:4").values == ("0.1", "0.4", "0.7", "1")
    assert len(parse_axis("lambda=0.1..1").values) == 5
    assert parse_axis("density=.2,.5,.2").values == (".2", ".5")


@given(low=ends, high=ends, count=st.integers(2, 40))
def test_values_are_evenly_spaced_from_end_to_end(low: float, high: float, count: int) -> None:
    values = [float(v) for v in parse_axis(f"x={low!r}..{high!r}:{count}").values]
    assert len(values) == count
    assert (values[0], values[-1]) == (low, high)
    step = (high - low) / (count - 1)
    slack = 1e-9 * (1 + abs(low) + abs(high))
    for place, value in enumerate(values):
        assert value == pytest.approx(low + place * step, abs=slack)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x=",
        "=1",
        "x=1,,2",
        "x=a..b",
        "x=1..2:1",
        "x=1..2:x",
        "x=1..inf",
        "x=..",
        "x=1..2:5000",
    ],
)
def test_what_is_no_search_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--search"):
        parse_axis(text)


def test_values_go_to_every_strategy_that_takes_them() -> None:
    method = Method((parse_rule("b* ties density=0.5"), parse_rule("c ours")), None)
    method = Method(method.rules, parse_choice("task-arithmetic weight=1,2"))
    axes = [parse_axis("lambda=0.5,1"), parse_axis("density=.1,.2")]
    found = trials_of(method, axes)
    assert [dict(trial.values) for trial in found] == [
        {"lambda": "0.5", "density": ".1"},
        {"lambda": "0.5", "density": ".2"},
        {"lambda": "1", "density": ".1"},
        {"lambda": "1", "density": ".2"},
    ]
    assert str(found[1].method.default) == "task-arithmetic weight=1,2 lambda=0.5"
    assert [str(rule) for rule in found[1].method.rules] == [
        "b* ties density=.2 lambda=0.5",
        "c ours",
    ]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["nope=1,2"], "no strategy of this merge takes it"),
        (["lambda=1,2", "lambda=3,4"], "twice"),
        (["lambda=1..2:900", "weight=1..2:900"], "1000 trials"),
        (["lambda=x,y"], "lambda=x"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(texts: list[str], told: str) -> None:
    method = Method(default=parse_choice("task-arithmetic"))
    with pytest.raises(UsageError, match=told):
        trials_of(method, [parse_axis(text) for text in texts])
