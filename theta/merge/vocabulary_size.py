"""The number of tokens as a model's configuration notes it, where rows were united.

Owns the correction of ``vocab_size`` in the ``config.json`` beside the model, also where the sides
agree on it: both may have added as many tokens, but not the same ones. Must not know rules.
"""

from collections.abc import Mapping

from theta.merge.json_keys import Document, Json, Number, read_json, write_json
from theta.merge.shapes import folder_of
from theta.params import split_name
from theta_store.ids import BlobId
from theta_store.records import TreeEntry
from theta_store.store import Session, Store

CONFIG = "config.json"
KEY = "vocab_size"


def is_size(path: str, name: str | None) -> bool:
    """Say whether an open name is the number of tokens in a configuration."""
    return path.rpartition("/")[2] == CONFIG and split_name(name or "")[-1] == KEY


def resized(text: str, sizes: Mapping[int, int]) -> str:
    """Return a configuration in which every ``vocab_size`` that was one of these is the new one.

    What is no JSON, or says nothing of the kind, is returned as it is.
    """
    try:
        document = read_json(text)
        value = _resized(document.value, sizes)
    except (ValueError, RecursionError):
        return text
    return text if value == document.value else write_json(Document(value, document.style))


def _resized(value: Json, sizes: Mapping[int, int]) -> Json:
    if not isinstance(value, dict):
        return value
    return {
        key: _size(item, sizes) if key == KEY else _resized(item, sizes)
        for key, item in value.items()
    }


def _size(value: Json, sizes: Mapping[int, int]) -> Json:
    if not isinstance(value, Number) or not value.text.isdecimal():
        return value
    size = sizes.get(int(value.text))
    return value if size is None else Number(str(size))


def resize_config(
    store: Store,
    session: Session,
    entries: dict[str, TreeEntry],
    path: str,
    sizes: Mapping[int, int],
) -> None:
    """Correct the configuration beside a model among the files of a merge."""
    place = folder_of(path) + CONFIG
    entry = entries.get(place)
    if entry is None or entry.kind != "blob":
        return
    session.flush()
    try:
        text = store.read_bytes(BlobId(entry.id)).decode()
    except UnicodeDecodeError:
        return
    made = resized(text, sizes)
    if made != text:
        blob = session.put_bytes(made.encode())
        entries[place] = TreeEntry(entry.name, "blob", blob, entry.executable)
