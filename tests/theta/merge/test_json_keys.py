"""JSON by key: laws of the merge, and what is kept of how a document is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.merge.json_keys import Document, merge_json, read_json, write_json
from theta.terms import ABSENT, OPEN, Terms

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner | LEAVES, max_size=3),
    max_leaves=6,
)


def _opened(terms: Terms[object]) -> list[str]:
    found = []
    merge_json(terms, lambda path, _: found.append(".".join(path)) or OPEN)  # type: ignore[func-returns-value]
    return found


@given(OBJECTS, OBJECTS)
def test_who_changed_nothing_gives_way(base: object, side: object) -> None:
    for sides in ((side, base), (base, side), (side, side)):
        terms: Terms[object] = Terms(sides, (base,))
        assert merge_json(terms, lambda *_: pytest.fail("nothing is open")) == side


@given(OBJECTS, OBJECTS, OBJECTS)
def test_every_open_key_gets_what_is_chosen(base: object, one: object, two: object) -> None:
    terms: Terms[object] = Terms((one, two), (base,))
    swapped: Terms[object] = Terms((two, one), (base,))
    assert sorted(_opened(terms)) == sorted(_opened(swapped))
    ours = merge_json(terms, lambda _, values: values.sides[0])
    assert ours == merge_json(swapped, lambda _, values: values.sides[1])
    if not _opened(terms):
        assert ours == merge_json(swapped, lambda _, values: values.sides[0])


def test_objects_are_entered_and_lists_are_not() -> None:
    base = {"a": {"x": 1, "y": [1]}, "b": 1}
    ours = {"a": {"x": 2, "y": [1, 2]}, "b": 1, "c": {"n": 1}}
    theirs = {"a": {"x": 1, "y": [3], "z": 5}, "c": {"n": 2, "m": 3}}
    assert _opened(Terms((ours, theirs), (base,))) == ["a.y", "c.n"]
    merged = merge_json(Terms((ours, theirs), (base,)), lambda _, values: values.sides[0])
    assert merged == {"a": {"x": 2, "y": [1, 2], "z": 5}, "c": {"n": 1, "m": 3}}


def test_a_key_that_one_deleted_and_the_other_changed_is_open() -> None:
    terms: Terms[object] = Terms(({}, {"a": 2}), ({"a": 1},))
    assert _opened(terms) == ["a"]
    assert merge_json(terms, lambda *_: ABSENT) == {}


def test_new_keys_follow_what_they_followed() -> None:
    base = {"a": 1, "c": 1, "e": 1}
    terms: Terms[object] = Terms(
        ({**base, "z": 1}, {"0": 1, "a": 1, "b": 1, "c": 1, "d": 1, "e": 1}), (base,)
    )
    merged = merge_json(terms, lambda *_: OPEN)
    assert isinstance(merged, dict)
    assert list(merged) == ["0", "a", "b", "c", "d", "e", "z"]


@pytest.mark.parametrize("value", [{}, {"a": [1, {"b": []}], "ä": "ö"}, {"x": 1.5, "y": None}])
@pytest.mark.parametrize(
    "style",
    [
        {},
        {"indent": 2},
        {"indent": 4, "sort_keys": True},
        {"indent": "\t", "ensure_ascii": False},
        {"separators": (",", ":")},
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_what_json_dumps_wrote_is_written_the_same(
    value: object, style: dict[str, object], end: str
) -> None:
    text = json.dumps(value, **style) + end  # type: ignore[arg-type]
    assert write_json(read_json(text)) == text


def test_numbers_keep_their_digits() -> None:
    text = '{"eps": 1e-05, "big": 123456789012345678901234567890, "f": 1.50, "n": NaN}'
    assert write_json(read_json(text)) == text


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a key is given twice"):
        read_json('{"a": 1, "a": 2}')


@given(OBJECTS)
def test_the_value_survives_any_style(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1)):
        document = read_json(text)
        again = read_json(write_json(Document(document.value, document.style)))
        assert again.value == document.value
