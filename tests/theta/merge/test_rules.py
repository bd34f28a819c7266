"""Rules: which names they are for, and which of them wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.merge.choice import Choice
from theta.merge.rules import find_rule, parse_attributes, parse_rule, rule_for
from theta_store.errors import UsageError

FILE = """
# who wins where
*                 average          # all

*.mlp.*           linear weight=0.2
config.json::*    ours
a#b               theirs
"""


def _found(path: str, name: str | None) -> str:
    rule = find_rule(parse_attributes(FILE), path, name)
    return "" if rule is None else str(rule.choice)


def test_the_last_match_wins_and_comments_are_nothing() -> None:
    assert _found("m.pt", "x.mlp.y") == "linear weight=0.2"
    assert _found("m.pt", "x.y") == "average"
    assert _found("m.pt", "a#b") == "theirs"
    assert _found("config.json", "a.b") == _found("config.json", None) == "ours"
    assert _found("m.pt", None) == "average"


def test_an_error_names_the_line() -> None:
    with pytest.raises(UsageError, match=r"\.thetaattributes line 3: average has no 'x'"):
        parse_attributes("\n\n* average x=1\n")
    with pytest.raises(UsageError, match=r"\.thetaattributes line 1: GLOB STRATEGY is expected"):
        parse_attributes("average")


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_a_rule_for_a_name_matches_it_and_can_be_written_down(path: str, name: str) -> None:
    rule = rule_for(path, name, Choice("ours"))
    assert rule.matches(path, name)
    if "::" not in name and not path.endswith(":") and not name.startswith(":"):
        again = parse_rule(str(rule))
        assert again == rule
        assert again.matches(path, name)


def test_a_rule_for_a_name_matches_no_glob_of_it() -> None:
    rule = rule_for("m.pt", "a*[0]", Choice("ours"))
    assert not rule.matches("m.pt", "ab[0]")
    assert not rule.matches("m.pt", "a*0")
