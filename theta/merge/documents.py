"""Plain files that can be merged inside: JSON by key, UTF-8 text by line.

Owns which files these are, what is open in them, and their merged bytes. Must not know plans nor
rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from theta.merge.json_keys import (
    Document,
    Json,
    KeyPath,
    merge_json,
    read_json,
    spell,
    write_json,
)
from theta.merge.text_lines import Clash, merge_lines
from theta.terms import ABSENT, OPEN, Absent, Open, Terms
from theta_store.ids import BlobId
from theta_store.records import TreeEntry
from theta_store.store import Store

FileTerm = TreeEntry | Absent
# What is longer was hardly written by hand, and is compared as a whole.
MOST_BYTES = 32 << 20
# What a library notes about itself: nobody means anything by it.
NOTES = frozenset({"_name_or_path", "transformers_version", "_commit_hash"})


@dataclass(frozen=True)
class OpenKey:
    """A key of a document that several sides changed in different ways."""

    name: str
    values: Terms[Json | Absent]


@dataclass(frozen=True)
class TextPlan:
    """A text that merges by line."""

    path: str
    entry: TreeEntry
    text: str
    how: str = "lines"

    def opened(self) -> list[OpenKey]:
        """Return what is open: nothing."""
        return []

    def compose(self, chosen: Callable[[str], int | None]) -> bytes:
        """Return the merged bytes; nothing is open."""
        del chosen
        return self.text.encode()


@dataclass(frozen=True)
class JsonPlan:
    """A JSON document that merges by key; ``texts`` has a text for each side, and for the base."""

    path: str
    entry: TreeEntry
    texts: Terms[str | Absent]
    how: str = "keys"

    @cached_property
    def _terms(self) -> Terms[Document | Absent]:
        return self.texts.map(lambda text: ABSENT if text is ABSENT else read_json(text))

    @property
    def _values(self) -> Terms[Json | Absent]:
        return self._terms.map(lambda found: ABSENT if found is ABSENT else found.value)

    @property
    def are_objects(self) -> bool:
        """Whether every text is a JSON object, so that there are keys."""
        try:
            found = (*self._values.sides, *self._values.bases)
        except (ValueError, RecursionError):
            return False
        return all(value is ABSENT or isinstance(value, dict) for value in found)

    def opened(self) -> list[OpenKey]:
        """Return the keys that are open."""
        found: list[OpenKey] = []

        def note(path: KeyPath, values: Terms[Json | Absent]) -> Open:
            found.append(OpenKey(spell(path), values))
            return OPEN

        merge_json(self._values, note)
        return found

    def compose(self, chosen: Callable[[str], int | None]) -> bytes:
        """Return the merged bytes; ``chosen`` is the side whose value a key gets, None the base.

        Written as the first side that has the file writes it. Where that cannot be done, but the
        lines of the texts merge to the same value, those are taken.
        """

        def choose(path: KeyPath, values: Terms[Json | Absent]) -> Json | Absent:
            side = chosen(spell(path))
            return values.bases[0] if side is None else values.sides[side]

        value = merge_json(self._values, choose)
        first = next(found for found in self._terms.sides if found is not ABSENT)
        text = write_json(Document(value, first.style))
        ours = next(text for text in self.texts.sides if text is not ABSENT)
        if write_json(first) != ours:
            lines = _by_line(self.texts)
            if isinstance(lines, str) and _value_of(lines) == value:
                text = lines
        return text.encode()


DocumentPlan = TextPlan | JsonPlan


def open_document(store: Store, path: str, terms: Terms[FileTerm]) -> DocumentPlan | str:
    """Return how a file that several sides changed merges inside, or why it does not."""
    entries = [entry for entry in (*terms.sides, *terms.bases) if entry is not ABSENT]
    if any(entry.kind != "blob" for entry in entries):
        return ""
    if any(store.blob(BlobId(entry.id)).size > MOST_BYTES for entry in entries):
        return "it is too long to be merged inside"
    try:
        texts = terms.map(lambda entry: _text(store, entry))
    except UnicodeDecodeError:
        return ""
    entry = _entry(terms)
    found = JsonPlan(path, entry, texts)
    if path.endswith(".json") and found.are_objects:
        return found
    merged = _by_line(texts)
    if isinstance(merged, Clash):
        return f"line {merged.line} was changed in different ways"
    return TextPlan(path, entry, merged)


def _text(store: Store, entry: FileTerm) -> str | Absent:
    if entry is ABSENT:
        return ABSENT
    text = store.read_bytes(BlobId(entry.id)).decode()
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "this is no text")
    return text


def _by_line(texts: Terms[str | Absent]) -> str | Clash:
    """Return the merged text: one side after the other is merged into what there is."""
    base = texts.bases[0]
    if base is ABSENT:
        return Clash(1)
    made = base
    for side in texts.sides:
        if side is ABSENT:
            return Clash(1)
        lines = (text.splitlines(keepends=True) for text in (base, made, side))
        merged = merge_lines(*lines)
        if isinstance(merged, Clash):
            return merged
        made = merged
    return made


def _value_of(text: str) -> Json:
    try:
        return read_json(text).value
    except ValueError:
        return OPEN


def _entry(terms: Terms[FileTerm]) -> TreeEntry:
    """Return the entry that the merged file replaces; a changed permission is kept."""
    first = next(entry for entry in terms.sides if entry is not ABSENT)
    may = Terms(
        tuple(entry is not ABSENT and entry.executable for entry in terms.sides),
        tuple(entry is not ABSENT and entry.executable for entry in terms.bases),
    ).resolve()
    executable = first.executable if may is OPEN else may
    return TreeEntry(first.name, "blob", first.id, executable)
