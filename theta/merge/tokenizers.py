"""Tokenizer files whose vocabulary several sides changed.

Owns what is open in them: the vocabulary as one key, beside the other keys of their JSON. Must not
know plans, rules, nor the rows that go with the tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from theta.merge.documents import JsonPlan, OpenKey
from theta.merge.json_keys import Document, Json, KeyPath, read_json, spell, write_json
from theta.merge.vocabulary import TOKENIZERS, VOCABULARY, TokenizerTerms
from theta.terms import ABSENT, OPEN, Absent, Open, Terms

# What stands for the merged vocabulary where the side is asked for whose value a key gets.
UNITED = -1


@dataclass(frozen=True)
class TokenizerPlan(JsonPlan):
    """A tokenizer file with an open vocabulary."""

    how: str = "tokens"

    @cached_property
    def _documents(self) -> Terms[Document]:
        return self.texts.map(lambda text: read_json("{}" if text is ABSENT else text))

    @cached_property
    def terms(self) -> TokenizerTerms:
        """The JSON of every side, and of the base."""
        return TokenizerTerms(self._documents.map(_object))

    def opened(self) -> list[OpenKey]:
        """Return the vocabulary, and the other keys that are open."""
        sizes = self.terms.vocabularies.map(lambda vocabulary: f"{len(vocabulary)} tokens")
        found = [OpenKey(VOCABULARY, sizes.map(_json))]

        def note(path: KeyPath, values: Terms[Json | Absent]) -> Open:
            found.append(OpenKey(spell(path), values))
            return OPEN

        self.terms.merged(0, note)
        return found

    def compose(self, chosen: Callable[[str], int | None]) -> bytes:
        """Return the merged bytes, written as ours writes them.

        ``chosen`` is the side whose value a key gets, None the base; a vocabulary may be `UNITED`.
        """

        def choose(path: KeyPath, values: Terms[Json | Absent]) -> Json | Absent:
            side = chosen(spell(path))
            return values.bases[0] if side is None else values.sides[side]

        value = self.terms.merged(chosen(VOCABULARY), choose)
        return write_json(Document(value, self._documents.sides[0].style)).encode()


def is_vocabulary(path: str, name: str | None) -> bool:
    """Say whether an open name is the vocabulary of a tokenizer file."""
    return name == VOCABULARY and path.rpartition("/")[2] in TOKENIZERS


def tokenizer_plan(plan: JsonPlan) -> TokenizerPlan | None:
    """Return the plan of a tokenizer file with an open vocabulary; None of any other file."""
    terms = (*plan.texts.sides, *plan.texts.bases)
    if plan.path.rpartition("/")[2] not in TOKENIZERS or any(text is ABSENT for text in terms):
        return None
    found = TokenizerPlan(plan.path, plan.entry, plan.texts)
    try:
        return found if found.terms.is_open else None
    except ValueError:
        return None


def _object(document: Document) -> dict[str, Json]:
    assert isinstance(document.value, dict), "a plan by key has objects"
    return document.value


def _json(text: str) -> Json | Absent:
    return text
