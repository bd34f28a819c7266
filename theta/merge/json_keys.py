"""JSON documents, key by key: what each side changed of their base.

Owns the reading and the writing of JSON that keeps what people see (key order, indent, the digits
of numbers), and the merge of objects. Lists are values: they are taken as a whole. Pure; must not
know files.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from theta.params import join
from theta.terms import ABSENT, OPEN, Absent, Open, Terms

Json = object
KeyPath = tuple[str, ...]
# What settles a key that both changed; OPEN leaves it.
Chooser = Callable[[KeyPath, Terms[Json]], Json | Absent | Open]


@dataclass(frozen=True)
class Number:
    """A number as it was spelled."""

    text: str


@dataclass(frozen=True)
class Style:
    """How a document is written: ``indent`` None is on one line."""

    indent: str | None = None
    comma: str = ", "
    colon: str = ": "
    ascii_only: bool = True
    end: str = ""


@dataclass(frozen=True)
class Document:
    """A document: its value and how it is written."""

    value: Json
    style: Style


def read_json(text: str) -> Document:
    """Read a document; what is none, or has a key twice, is a `ValueError`."""
    value = json.loads(
        text,
        parse_int=Number,
        parse_float=Number,
        parse_constant=Number,
        object_pairs_hook=_object,
    )
    return Document(value, _style(text))


def _object(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is given twice")
    return made


def _style(text: str) -> Style:
    body = text.rstrip()
    end = text[len(body) :]
    indented = re.match(r"[\[{]\r?\n([ \t]*)\S", body)
    indent = None if indented is None else indented[1]
    comma = "," if indent is not None or re.search(r'[\w"\]}],["\[{\w-]', body) else ", "
    colon = ": " if re.search(r'"\s*:\s', body) or '":' not in body else ":"
    return Style(indent, comma, colon, body.isascii(), end)


def write_json(document: Document) -> str:
    """Return the document's text."""
    return _written(document.value, document.style, "\n") + document.style.end


def _written(value: Json, style: Style, line: str) -> str:
    inner = line if style.indent is None else line + style.indent
    match value:
        case Number(text):
            return text
        case dict():
            parts = [
                json.dumps(key, ensure_ascii=style.ascii_only)
                + style.colon
                + _written(item, style, inner)
                for key, item in value.items()
            ]
            return _joined("{", parts, "}", style, line)
        case list():
            return _joined("[", [_written(v, style, inner) for v in value], "]", style, line)
    return json.dumps(value, ensure_ascii=style.ascii_only)


def _joined(left: str, parts: Sequence[str], right: str, style: Style, line: str) -> str:
    if style.indent is None or not parts:
        return left + style.comma.join(parts) + right
    inner = line + style.indent
    return left + inner + f",{inner}".join(parts) + line + right


def merge_json(terms: Terms[Json | Absent], choose: Chooser, path: KeyPath = ()) -> Json | Absent:
    """Return the merged value; a key that is left open by ``choose`` gets what ours has.

    Only objects are entered. New keys come after the one that they followed on their side.
    """
    settled = terms.resolve()
    if settled is not OPEN:
        return settled
    changed = [side for side in terms.sides if side != terms.bases[0]]
    if not all(isinstance(side, dict) for side in changed):
        chosen = choose(path, terms)
        return terms.sides[0] if chosen is OPEN else chosen
    objects = terms.map(lambda value: value if isinstance(value, dict) else {})
    made = {}
    for key in _keys([*objects.sides, *objects.bases]):
        item = merge_json(_at(objects, key), choose, (*path, key))
        if item is not ABSENT:
            made[key] = item
    return made


def _at(objects: Terms[dict[str, Json]], key: str) -> Terms[Json | Absent]:
    def item(value: Mapping[str, Json]) -> Json | Absent:
        return value.get(key, ABSENT)

    return objects.map(item)


def _keys(objects: Sequence[Mapping[str, Json]]) -> list[str]:
    """Return all keys in the order of the first object, others after what they follow."""
    order = list(objects[0])
    for others in objects[1:]:
        place = 0
        for key in others:
            if key in order:
                place = order.index(key) + 1
                continue
            # Behind what another side put there.
            while place < len(order) and order[place] not in {*objects[0], *others}:
                place += 1
            order.insert(place, key)
            place += 1
    return order


def spell(path: KeyPath) -> str:
    """Return the name of a key in rules and conflicts."""
    return join(path)
