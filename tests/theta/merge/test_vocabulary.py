"""Vocabularies: one numbering of all tokens, and tokenizer files that follow it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.merge.json_keys import Json, read_json, write_json
from theta.merge.vocabulary import TokenizerTerms, numbered, read_vocabulary, size_of
from theta.terms import OPEN, Open, Terms

TOKENS = "abcdefghij"


@st.composite
def vocabularies(draw: st.DrawFn) -> dict[str, int]:
    """A vocabulary with gaps, in any order."""
    tokens = draw(st.lists(st.sampled_from(TOKENS), unique=True, max_size=8))
    ids = draw(st.lists(st.integers(0, 12), unique=True, min_size=8, max_size=8))
    return dict(zip(tokens, ids, strict=False))


TERMS = st.builds(
    Terms,
    st.lists(vocabularies(), min_size=2, max_size=3).map(tuple),
    st.tuples(vocabularies()),
)


@given(TERMS)
def test_every_token_has_one_id_of_its_own(terms: Terms[dict[str, int]]) -> None:
    made = numbered(terms)
    assert len(set(made.values())) == len(made)
    if terms.resolve() is OPEN:
        assert made.keys() == set().union(*terms.sides)
        assert made | terms.sides[0] == made


@given(vocabularies(), vocabularies())
def test_what_one_side_changed_is_taken(base: dict[str, int], side: dict[str, int]) -> None:
    assert numbered(Terms((base, side), (base,))) == side
    assert numbered(Terms((side, base), (base,))) == side
    assert numbered(Terms((side, side), (base,))) == side


def test_new_tokens_come_behind_one_side_after_the_other() -> None:
    base = {"a": 0, "b": 1}
    sides = (base | {"x": 2}, base | {"z": 3, "y": 2}, base | {"w": 2, "x": 3})
    expected = {"a": 0, "b": 1, "x": 2, "y": 3, "z": 4, "w": 5}
    assert numbered(Terms(sides, (base,))) == expected


def test_a_token_that_ours_dropped_gets_its_old_id_back() -> None:
    base = {"a": 0, "b": 1, "c": 2}
    made = numbered(Terms(({"a": 0, "c": 2}, base | {"x": 3}), (base,)))
    assert made == {"a": 0, "b": 1, "c": 2, "x": 3}


def _document(vocab: object, **more: object) -> dict[str, Json]:
    text = json.dumps({"added_tokens": [], "model": {"vocab": vocab, "merges": []}} | more)
    value = read_json(text).value
    assert isinstance(value, dict)
    return value


def _open(path: object, values: object) -> Open:
    return OPEN


def _merged(terms: TokenizerTerms, chosen: int | None = -1) -> Any:
    return json.loads(write_json(read_json("{}").__class__(terms.merged(chosen, _open), _STYLE)))


_STYLE = read_json("{}").style


def test_tokens_of_every_kind_of_file() -> None:
    added = [{"id": 2, "content": "<s>"}]
    assert read_vocabulary(_document({"a": 0, "b": 1}, added_tokens=added)) == {
        "a": 0,
        "b": 1,
        "<s>": 2,
    }
    assert read_vocabulary(_document([["a", -1.5], ["b", -2.5]])) == {"a": 0, "b": 1}
    assert read_vocabulary({"a": 0, "b": 1}) == {"a": 0, "b": 1}
    assert size_of({"a": 0, "b": 7}) == 8
    assert size_of({}) == 0


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"a": "x"},
        {"a": -1},
        {"a": None},
        {"model": {}},
        {"model": {"vocab": ["a"]}},
        {"model": {"vocab": {}}, "added_tokens": [{"id": 1}]},
        {"model": {"vocab": {}}, "added_tokens": {"x": 1}},
    ],
)
def test_what_is_no_vocabulary(document: Json) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_vocabulary(document)


@given(TERMS)
def test_the_merged_file_has_the_merged_numbering(terms: Terms[dict[str, int]]) -> None:
    for files in (
        TokenizerTerms(terms.map(_document)),
        TokenizerTerms(terms.map(lambda each: _document({}, added_tokens=_entries(each)))),
        TokenizerTerms(terms.map(lambda each: dict(each))),
    ):
        assert read_vocabulary(_merged(files)) == numbered(terms)
        for place, side in enumerate(terms.sides):
            assert read_vocabulary(_merged(files, place)) == side
        assert read_vocabulary(_merged(files, None)) == terms.bases[0]


def _entries(vocabulary: dict[str, int]) -> list[dict[str, object]]:
    return [{"id": id_, "content": token} for token, id_ in vocabulary.items()]


def test_merges_and_other_keys_are_kept() -> None:
    base, ours, theirs = (_document({"a": 0}, truncation=n) for n in (None, None, 7))
    for document, merges in ((base, ["a b"]), (ours, ["a b", "c d"]), (theirs, ["a b", "e f"])):
        document["model"] = {"vocab": {"a": 0}, "merges": merges}
    terms = TokenizerTerms(Terms((ours, theirs), (base,)))
    made = _merged(terms)
    assert made["model"]["merges"] == ["a b", "c d", "e f"]
    assert made["truncation"] == 7
    assert terms.is_open


def test_ids_that_other_keys_name_follow_the_tokens() -> None:
    def document(*tokens: str, **more: object) -> dict[str, Json]:
        entries = [{"id": n, "content": token} for n, token in enumerate(tokens)]
        return _document({}, added_tokens=entries, **more)

    template = {"special_tokens": {"<t>": {"id": "<t>", "ids": [1], "tokens": ["<t>"]}}}
    theirs = document(
        "a",
        "<t>",
        post_processor={"type": "TemplateProcessing", **template, "sep": ["<t>", 1]},
        padding={"pad_token": "<t>", "pad_id": 1, "length": 1},
    )
    terms = TokenizerTerms(Terms((document("a", "<o>"), theirs), (document("a"),)))
    chosen: int | None
    for chosen, id_ in ((-1, 2), (1, 1), (None, 2)):
        made = _merged(terms, chosen)
        assert made["post_processor"]["special_tokens"]["<t>"]["ids"] == [id_]
        assert made["post_processor"]["sep"] == ["<t>", id_]
        assert made["padding"] == {"pad_token": "<t>", "pad_id": id_, "length": 1}


def test_a_change_of_an_added_token_is_kept() -> None:
    def document(**flags: bool) -> dict[str, Json]:
        return _document({}, added_tokens=[{"id": 0, "content": "<s>", **flags}])

    terms = TokenizerTerms(Terms((document(), document(special=True)), (document(),)))
    assert _merged(terms)["added_tokens"] == [{"id": 0, "content": "<s>", "special": True}]


def test_lists_of_pieces_are_not_united() -> None:
    base, ours, theirs = (_document([["a", 0], *more]) for more in ([], [["b", 0]], [["c", 0]]))
    assert not TokenizerTerms(Terms((ours, theirs), (base,))).can_unite
    assert TokenizerTerms(Terms((ours, base), (base,))).can_unite
