"""Which files of the workspace belong together: one file, or the index and shards of one model.

Owns the grouping. Must not know the store, nor how files are read as tensors.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

INDEX_SUFFIX = ".index.json"
INDEX_BYTES = 64 << 20


class Item(msgspec.Struct, frozen=True):
    """What becomes one entry of a tree; ``parts`` are its files' paths, the entry's own first.

    ``missing`` are shards that an index names and that are not there.
    """

    path: str
    parts: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def is_lone_index(self) -> bool:
        """Whether it is the index of a model some of whose shards are missing."""
        return self.path.endswith(INDEX_SUFFIX) and len(self.parts) == 1


def group(root: Path, paths: Iterable[str]) -> list[Item]:
    """Return the items that these files make; shards follow their index even if not listed.

    A model one of whose shards is missing is no model: its files stand for themselves.
    """
    left = set(paths)
    found = []
    for path in sorted(left):
        shards = _shards(root, path)
        missing = tuple(shard for shard in shards if not (root / shard).is_file())
        if missing:
            found.append(Item(path, (path,), missing))
            left.discard(path)
        elif shards:
            found.append(Item(path, (path, *shards)))
            left -= {path, *shards}
    found += [Item(path, (path,)) for path in left]
    return sorted(found, key=lambda item: item.path)


def _shards(root: Path, path: str) -> tuple[str, ...]:
    if not path.endswith(INDEX_SUFFIX) or (root / path).stat().st_size > INDEX_BYTES:
        return ()
    from theta.formats.shard_index import shards_of

    return tuple(_beside(path, shards_of((root / path).read_bytes()) or ()))


def _beside(path: str, names: Iterable[str]) -> Iterator[str]:
    folder, slash, _ = path.rpartition("/")
    return (folder + slash + name for name in names)
