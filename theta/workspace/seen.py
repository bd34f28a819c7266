"""What files on disk are as far as the stat cache knows: items, and what lies where one goes.

Owns the names by which the cache remembers files. Must not read any of them.
"""

import os
from collections.abc import Callable
from pathlib import Path

from theta.formats.layout import decode_layout
from theta.params import flatten
from theta.workspace.checkout import part_path, safe_path
from theta.workspace.items import Item
from theta.workspace.original import Original
from theta_store.errors import IntegrityError
from theta_store.ids import CheckpointId
from theta_store.records import TreeEntry
from theta_store.store import Store

# One of the stat cache's questions.
Ask = Callable[[str, os.stat_result], TreeEntry | None]


def cache_key(path: str, part: str) -> str:
    """Return the name of a file of the entry at ``path``.

    A shard is remembered as part of its model: without the index it is another file.
    """
    return path if path == part else f"{path}{os.sep}{os.sep}{part}"


def known_item(root: Path, item: Item, ask: Ask) -> dict[str, TreeEntry] | None:
    """Return what an item is by what was seen of its files; None where one has to be read."""
    found: dict[str, TreeEntry] = {}
    for part in item.parts:
        entry = ask(cache_key(item.path, part), (root / part).stat())
        if entry is None:
            return None
        found[part] = entry
    first = found[item.path]
    if first.kind == "checkpoint" and item.is_lone_index:
        # It was the model's while all shards were there.
        return None
    whole = len(item.parts) > 1 and first.kind == "checkpoint"
    if whole and any(entry != first for entry in found.values()):
        return None
    return {item.path: first} if whole else found


def known_original(store: Store, root: Path, path: str, part: str, ask: Ask) -> Original | None:
    """Return what the file at ``part`` is, of the model at ``path``; None where it is not known."""
    target = safe_path(root, part)
    try:
        status = target.stat()
    except OSError:
        return None
    entry = ask(cache_key(path, part), status)
    if entry is None or entry.kind != "checkpoint" or not store.has(entry.id):
        return None
    try:
        record = store.checkpoint(CheckpointId(entry.id))
        file = next((file for file in record.files if part_path(path, file) == part), None)
        if file is None:
            return None
        leaves = dict(flatten(store, record.params))
        return Original(target, status, decode_layout(store.read_bytes(file.layout)), leaves)
    except IntegrityError:
        # What was there cannot be read any more; what goes there can all the same.
        return None
