"""Vocabularies: which token has which id, and what several sides made of them.

Owns reading the tokens of a tokenizer's JSON, one numbering for all sides, and the merged JSON. The
rows of embeddings follow the same numbering. Pure; must not know where files lie, nor tensors.

The numbering: where one side alone changed the vocabulary, or all in the same way, it is that one.
Else every token that some side has is kept. Tokens of ours keep their ids; a token of the base that
ours has no more gets its old id back where that is free; tokens that others added come behind, one
side after the other, in the order of their ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from theta.merge.json_keys import Chooser, Json, Number, merge_json
from theta.terms import ABSENT, OPEN, Absent, Terms

Vocabulary = Mapping[str, int]
# What the open vocabulary of a tokenizer file is called in conflicts and rules.
VOCABULARY = "vocabulary"
# Files that say which token has which id; the first that a folder has counts.
TOKENIZERS = ("tokenizer.json", "vocab.json")
SETTLED = "the vocabulary is merged by itself"


def read_vocabulary(document: Json) -> Vocabulary:
    """Return the ids of all tokens of a ``tokenizer.json``, or of a ``vocab.json``.

    What is neither is a `ValueError`.
    """
    if not isinstance(document, dict):
        raise ValueError("this is no tokenizer")
    model = document.get("model")
    if not isinstance(model, dict):
        return _ids(document)
    tokens = model.get("vocab")
    found = dict(_ids(tokens) if isinstance(tokens, dict) else _places(tokens))
    return found | {str(entry["content"]): _int(entry["id"]) for entry in _added(document)}


def _ids(tokens: Mapping[str, Json]) -> Vocabulary:
    return {token: _int(id_) for token, id_ in tokens.items()}


def _places(pieces: Json) -> Vocabulary:
    """Return the ids of a list of pieces with their scores: their places."""
    if not isinstance(pieces, list) or not all(isinstance(p, list) and p for p in pieces):
        raise ValueError("this is no vocabulary")
    return {str(piece[0]): place for place, piece in enumerate(pieces)}


def _added(document: Mapping[str, Json]) -> list[dict[str, Json]]:
    found = document.get("added_tokens") or []
    if not isinstance(found, list):
        raise ValueError("this is no list of added tokens")
    for entry in found:
        if not isinstance(entry, dict) or not {"content", "id"} <= entry.keys():
            raise ValueError("this is no added token")
    return found


def _int(value: Json) -> int:
    text = value.text if isinstance(value, Number) else str(value)
    if not text.isdecimal():
        raise ValueError(f"{text} is no id of a token")
    return int(text)


def size_of(vocabulary: Vocabulary) -> int:
    """Return how many rows a vocabulary needs: one more than its greatest id."""
    return max(vocabulary.values(), default=-1) + 1


def numbered(terms: Terms[Vocabulary]) -> Vocabulary:
    """Return the merged vocabulary."""
    settled = terms.resolve()
    if settled is not OPEN:
        return settled
    made = dict(terms.sides[0])
    taken = set(made.values())
    behind = size_of(made)
    for token, id_ in _missing(terms.sides, made):
        old = terms.bases[0].get(token)
        if old == id_ and id_ not in taken:
            made[token] = id_
        else:
            while behind in taken:
                behind += 1
            made[token] = behind
        taken.add(made[token])
    return made


def _missing(sides: Sequence[Vocabulary], made: Vocabulary) -> Iterable[tuple[str, int]]:
    """Yield the tokens that the first side lacks, each as the first side that has it numbers it."""
    seen = set(made)
    for side in sides[1:]:
        for token, id_ in sorted(side.items(), key=lambda item: item[1]):
            if token not in seen:
                seen.add(token)
                yield token, id_


@dataclass(frozen=True)
class TokenizerTerms:
    """A tokenizer file of every side and of the base, as parsed JSON."""

    documents: Terms[dict[str, Json]]

    @property
    def vocabularies(self) -> Terms[Vocabulary]:
        """The vocabulary of each."""
        return self.documents.map(read_vocabulary)

    @property
    def is_open(self) -> bool:
        """Whether several sides changed the vocabulary, or how it is spelled, in different ways."""
        parts = self.documents.map(lambda d: [_at(d, path) for path in _PARTS])
        return self.vocabularies.resolve() is OPEN or parts.resolve() is OPEN

    @property
    def can_unite(self) -> bool:
        """Whether there is a merged file: places of pieces in a list cannot be chosen freely."""
        found = self.documents.map(lambda document: _at(document, ("model", "vocab")))
        lists = any(isinstance(value, list) for value in (*found.sides, *found.bases))
        return not lists or found.resolve() is not OPEN

    def merged(self, chosen: int | None, choose: Chooser) -> Json:
        """Return the merged document.

        ``chosen`` is the side whose vocabulary it gets, None the base, −1 the merged one; the other
        keys merge by `merge_json`.
        """
        ids = self._ids(chosen)
        rest = merge_json(self.documents.map(lambda each: _without(each, ids)), choose)
        if not isinstance(rest, dict):
            return rest
        if chosen == -1:
            return self._united(rest)
        donor = self.documents.bases[0] if chosen is None else self.documents.sides[chosen]
        if _is_plain(donor):
            return donor
        for path in _PARTS:
            _set(rest, path, _at(donor, path))
        return rest

    def _ids(self, chosen: int | None) -> Vocabulary:
        """Return an id for every token: of the chosen vocabulary where it has the token."""
        terms = self.vocabularies
        made = {**terms.bases[0], **numbered(terms)}
        if chosen == -1:
            return made
        return {**made, **(terms.bases[0] if chosen is None else terms.sides[chosen])}

    def _united(self, rest: dict[str, Json]) -> Json:
        numbering = numbered(self.vocabularies)
        if _is_plain(self.documents.sides[0]):
            return _spelled(numbering, numbering)
        tokens = self.documents.map(lambda document: _at(document, ("model", "vocab")))
        settled = tokens.resolve()
        if settled is OPEN:
            every = {token for side in tokens.sides if isinstance(side, dict) for token in side}
            settled = _spelled(numbering, every)
        _set(rest, ("model", "vocab"), settled)
        _set(rest, ("model", "merges"), self._merges())
        _set(rest, ("added_tokens",), self._added_tokens(numbering))
        return rest

    def _merges(self) -> Json | Absent:
        """Return the rules by which pieces join: those of ours, then what the others have more."""
        lists = self.documents.map(lambda document: _at(document, ("model", "merges")))
        settled = lists.resolve()
        if settled is not OPEN:
            return settled
        found = {
            repr(rule): rule for side in lists.sides if isinstance(side, list) for rule in side
        }
        return list(found.values())

    def _added_tokens(self, numbering: Vocabulary) -> Json:
        """Return the added tokens by id; what two sides changed of one is as ours has it."""
        by_token = self.documents.map(lambda d: {str(e["content"]): e for e in _added(d)})
        made: list[dict[str, Json]] = []
        for token in {token: None for side in by_token.sides for token in side}:
            if token not in numbering:
                continue
            entries = _entries(by_token, token)
            entry = entries.resolve()
            if entry is OPEN or entry is ABSENT:
                entry = next(side for side in entries.sides if side is not ABSENT)
            made.append({"id": Number(str(numbering[token])), **entry})
        return sorted(made, key=lambda entry: _int(entry["id"]))


_PARTS = (("model", "vocab"), ("model", "merges"), ("added_tokens",))
# Keys below which tokens are named with their ids.
_NAMING = ("post_processor", "padding")


def _is_plain(document: Mapping[str, Json]) -> bool:
    """Say whether a document is a ``vocab.json``: tokens and ids, nothing else."""
    return not isinstance(document.get("model"), dict)


def _spelled(numbering: Vocabulary, tokens: Iterable[str]) -> dict[str, Json]:
    order = sorted((numbering[token], token) for token in tokens if token in numbering)
    return {token: Number(str(id_)) for id_, token in order}


def _entries(
    by_token: Terms[dict[str, dict[str, Json]]], token: str
) -> Terms[dict[str, Json] | Absent]:
    return by_token.map(lambda side: _bare(side.get(token)))


def _bare(entry: Mapping[str, Json] | None) -> dict[str, Json] | Absent:
    """Return an added token without its id."""
    return ABSENT if entry is None else {k: v for k, v in entry.items() if k != "id"}


def _without(document: dict[str, Json], ids: Vocabulary) -> Json:
    """Return a document with nothing in the places of the vocabulary, and these ids elsewhere."""
    if _is_plain(document):
        return {}
    made: dict[str, Json] = dict(document)
    for path in _PARTS:
        if _at(document, path) is not ABSENT:
            _set(made, path, SETTLED)
    return made | {key: _renumbered(made[key], ids) for key in _NAMING if key in made}


def _renumbered(value: Json, ids: Vocabulary) -> Json:
    """Return what names tokens with their ids, with other ids: templates, pairs, and padding."""
    if isinstance(value, list):
        match value:
            case [str(token), Number()] if token in ids:
                return [token, Number(str(ids[token]))]
        return [_renumbered(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"tokens": list(tokens), "ids": list()} if all(token in ids for token in tokens):
            return value | {"ids": [Number(str(ids[token])) for token in tokens]}
        case {"pad_token": str(token), "pad_id": Number()} if token in ids:
            return value | {"pad_id": Number(str(ids[token]))}
    return {key: _renumbered(item, ids) for key, item in value.items()}


def _at(document: Json, path: tuple[str, ...]) -> Json | Absent:
    for key in path:
        if not isinstance(document, dict) or key not in document:
            return ABSENT
        document = document[key]
    return document


def _set(document: dict[str, Json], path: tuple[str, ...], value: Json | Absent) -> None:
    """Put a value into a document that is ours; objects on the way are copied."""
    *most, last = path
    for key in most:
        inner = document.get(key)
        document[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        document = inner
    if value is ABSENT:
        document.pop(last, None)
    else:
        document[last] = value
