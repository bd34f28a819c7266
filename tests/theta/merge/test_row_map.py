"""Which rows belong together: laws of both alignments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from theta.merge.row_map import RowMap, by_place, by_token, fit
from theta.merge.vocabulary import numbered, size_of
from theta.terms import Terms

COUNTS = st.lists(st.integers(0, 9), min_size=2, max_size=3)
TOKENS = "abcdefgh"
VOCABULARY = st.lists(st.sampled_from(TOKENS), unique=True).map(
    lambda tokens: {token: place for place, token in enumerate(tokens)}
)


def _once(places: np.ndarray) -> bool:
    used = places[places >= 0]
    return len(np.unique(used)) == len(used)


@given(COUNTS, st.integers(0, 9))
def test_by_place_every_row_of_every_side_is_somewhere_once(counts: list[int], base: int) -> None:
    made = by_place(counts, base)
    for places, count in zip(made.sides, counts, strict=True):
        assert sorted(places[places >= 0]) == list(range(count))
    kept = min(base, max(counts))
    assert made.count == kept + sum(max(count - base, 0) for count in counts)
    assert made.base.tolist() == [*range(kept), *[-1] * (made.count - kept)]
    # Behind the base each row is of one side, ours first.
    owners = [
        [n for n, side in enumerate(made.sides) if side[row] >= 0]
        for row in range(kept, made.count)
    ]
    assert all(len(owner) == 1 for owner in owners)
    assert owners == sorted(owners)


@given(st.lists(st.tuples(VOCABULARY, st.integers(0, 3)), min_size=3, max_size=4))
def test_by_token_the_row_of_a_token_is_at_its_id(terms: list[tuple[dict[str, int], int]]) -> None:
    vocabularies = Terms(tuple(v for v, _ in terms[:-1]), (terms[-1][0],))
    counts = [size_of(vocabulary) + padding for vocabulary, padding in terms]
    made = by_token(vocabularies, counts[:-1], counts[-1])
    merged = numbered(vocabularies)
    assert made.count >= size_of(merged)
    for (vocabulary, _), places in zip(terms, (*made.sides, made.base), strict=True):
        assert _once(places)
        for token, id_ in merged.items():
            assert places[id_] == vocabulary.get(token, -1)
        # What is of no token stays where it is.
        loose = [row for row in range(made.count) if row not in merged.values()]
        assert all(places[row] in (-1, row) for row in loose)


@given(VOCABULARY, st.integers(0, 3))
def test_one_vocabulary_keeps_every_row_in_its_place(tokens: dict[str, int], padding: int) -> None:
    count = size_of(tokens) + padding
    made = by_token(Terms((tokens, tokens), (tokens,)), [count, count], count)
    rows = list(range(count))
    assert [places.tolist() for places in (*made.sides, made.base)] == [rows, rows, rows]


def test_padding_is_used_up_before_rows_are_added() -> None:
    base = {"a": 0, "b": 1}
    sides = (base | {"x": 2}, base | {"y": 2})
    made = by_token(Terms(sides, (base,)), [4, 4], 4)
    assert made.sides[0].tolist() == [0, 1, 2, -1]
    assert made.sides[1].tolist() == [0, 1, -1, 2]
    assert made.base.tolist() == [0, 1, -1, -1]


def test_a_vocabulary_that_was_cut_takes_the_padding_away() -> None:
    base = {"a": 0, "b": 1, "c": 2}
    made = by_token(Terms((base, {"b": 0}), (base,)), [5, 1], 5)
    assert [places.tolist() for places in (*made.sides, made.base)] == [[1], [0], [1]]


def test_which_tensors_are_of_a_vocabulary() -> None:
    tokens = {"a": 0, "b": 1}
    assert fit(tokens, 2)
    assert fit(tokens, 64)
    assert not fit(tokens, 1)
    assert not fit(tokens, 4096)
    assert not fit({}, 0)


def test_a_map_counts_the_merged_rows() -> None:
    assert RowMap((np.zeros(3, np.int64),), np.zeros(3, np.int64)).count == 3
