"""Which rows of the sides and of their base belong together.

Owns the alignment of rows by their places, and by the tokens that they are of. Pure; must not know
where vocabularies come from, nor values.

By place: the rows of the base, as far as any side has them, then the rows that each side added,
ours first. By token: the row of a token is at its id in the merged vocabulary. A row that is of no
token (vocabularies are often padded) belongs to the rows at its place that are of none either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theta.merge.vocabulary import Vocabulary, numbered, size_of
from theta.terms import Terms

Places = NDArray[np.int64]
# Embeddings are padded to a multiple of a power of two; with more rows than this they are of
# something else.
MOST_PADDING = 1024


@dataclass(frozen=True)
class RowMap:
    """Of each merged row its row in every side and in the base, −1 where there is none."""

    sides: tuple[Places, ...]
    base: Places

    @property
    def count(self) -> int:
        """Number of merged rows."""
        return len(self.base)


def by_place(counts: Sequence[int], base: int) -> RowMap:
    """Return the alignment of so many rows of the sides, ours first, and of the base."""
    kept = min(base, max(counts))
    added = [max(count - base, 0) for count in counts]
    rows = kept + sum(added)
    places = []
    behind = kept
    for count, more in zip(counts, added, strict=True):
        own = np.full(rows, -1)
        own[: min(count, kept)] = np.arange(min(count, kept))
        own[behind : behind + more] = np.arange(base, base + more)
        behind += more
        places.append(own)
    old = np.full(rows, -1)
    old[:kept] = np.arange(kept)
    return RowMap(tuple(places), old)


def fit(vocabulary: Vocabulary, rows: int) -> bool:
    """Say whether a tensor of so many rows can be one of these tokens."""
    return bool(vocabulary) and 0 <= rows - size_of(vocabulary) < MOST_PADDING


def by_token(vocabularies: Terms[Vocabulary], counts: Sequence[int], base: int) -> RowMap:
    """Return the alignment by tokens; there are at least as many rows as the ids need."""
    merged = numbered(vocabularies)
    rows = _rows(vocabularies, merged, counts)
    tokens = {id_: token for token, id_ in merged.items()}
    terms = [*zip(vocabularies.sides, counts, strict=True), (vocabularies.bases[0], base)]
    *sides, old = (_places(tokens, vocabulary, count, rows) for vocabulary, count in terms)
    return RowMap(tuple(sides), old)


def _rows(vocabularies: Terms[Vocabulary], merged: Vocabulary, counts: Sequence[int]) -> int:
    """Return the number of merged rows; padding is kept."""
    sides = list(zip(vocabularies.sides, counts, strict=True))
    same = [count for vocabulary, count in sides if vocabulary == merged]
    if same:
        return max(same)
    padded = [count for vocabulary, count in sides if count > size_of(vocabulary)]
    return max([size_of(merged), *padded])


def _places(tokens: dict[int, str], vocabulary: Vocabulary, count: int, rows: int) -> Places:
    made = np.full(rows, -1)
    # Rows without a token, here and in the result.
    free = np.ones(min(count, rows), bool)
    used = [id_ for id_ in (*vocabulary.values(), *tokens) if id_ < len(free)]
    free[used] = False
    made[: len(free)][free] = np.flatnonzero(free)
    for id_, token in tokens.items():
        place = vocabulary.get(token, -1)
        if id_ < rows and place < count:
            made[id_] = place
    return made
