"""Entries to files of the user's folder: which are written, and what is remembered of them.

Owns the writing of many files, and what of them is on disk already. Must not decide what a commit's
files are, nor look at files beyond their stat.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from theta.progress import SILENT, Progress
from theta.stat_cache import StatCache
from theta.workspace.checkout import (
    check_checkpoint,
    part_path,
    part_sizes,
    parts_of,
    safe_path,
    write_entry,
)
from theta.workspace.draft import sweep
from theta.workspace.items import group
from theta.workspace.seen import cache_key, known_item, known_original
from theta.workspace.staying import staying
from theta_store.errors import IntegrityError
from theta_store.ids import CheckpointId
from theta_store.records import TreeEntry
from theta_store.store import Store

if TYPE_CHECKING:
    from theta.checkpoint import Reader
    from theta.workspace.copies import Copies
    from theta.workspace.drafts import Drafts

CACHE_FILE = "stat-cache"
DRAFT_FILE = "draft"

Entries = Mapping[str, TreeEntry]
# Paths of files by the path of the entry that they belong to.
Parts = Mapping[str, frozenset[str]]


class Writing:
    """Writes files below ``root``; ``private`` has theta's own state for them."""

    def __init__(self, root: Path, private: Path, store: Store) -> None:
        self.root = root
        self._private = private
        self._store = store

    def _seen(self) -> StatCache:
        return StatCache.load(self._private / CACHE_FILE)

    def parts(self, path: str, entry: TreeEntry) -> tuple[str, ...]:
        """Return the paths of the files that an entry stands for."""
        return parts_of(self._store, path, entry)

    def file_size(self, entry: TreeEntry) -> int:
        """Return the bytes of the files that an entry stands for."""
        return sum(part_sizes(self._store, entry.name, entry).values())

    def drafts(self) -> "Drafts":
        """Return where a file can be begun whose tensors are not all known yet."""
        from theta.workspace.drafts import Drafts

        original = partial(known_original, self._store, self.root, ask=self._seen().get)
        return Drafts(self.root, self._private / DRAFT_FILE, self._store, original)

    def write(
        self,
        entries: Entries,
        *,
        only: Parts | None = None,
        drafts: "Drafts | None" = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Write entries to disk, each file atomically, and remember them in the stat cache.

        A shard that is on disk already as its model has it is left as it is. ``only`` restricts
        some entries to some of their files; ``drafts`` has a file that is begun. Return the paths
        that were written.
        """
        if not entries:
            return []
        self._check_paths(entries)
        written: list[str] = []
        with self._remembering() as cache:
            wanted = {path: self._wanted(path, entry, only) for path, entry in entries.items()}
            kept: dict[str, os.stat_result] = {}
            todo = {
                path: self._differing(cache, path, entry, wanted[path], kept=kept)
                for path, entry in entries.items()
            }
            self._sweep(part for parts in todo.values() for part in parts)
            progress.begin("writing", self._bytes_of(entries, todo))
            for path, entry in entries.items():
                # As they were when they were known to be right: somebody may be writing meanwhile.
                for part in wanted[path]:
                    if part in kept:
                        cache.put(cache_key(path, part), kept[part], entry)
                written += self._write_entry(cache, path, entry, todo[path], drafts, progress)
        return written

    @contextmanager
    def _remembering(self) -> Iterator[StatCache]:
        """Lend the stat cache and save it, also when what was begun is cut short."""
        cache = self._seen()
        try:
            yield cache
        finally:
            cache.save()

    def _sweep(self, parts: Iterable[str]) -> None:
        """Remove what killed processes have left where files will be written."""
        for folder in {safe_path(self.root, part).parent for part in parts}:
            sweep(folder)

    def _write_entry(
        self,
        cache: StatCache,
        path: str,
        entry: TreeEntry,
        only: Collection[str],
        drafts: "Drafts | None",
        progress: Progress,
    ) -> list[str]:
        with self._lent(cache, [path] if only else []):
            return write_entry(
                self._store,
                self.root,
                path,
                entry,
                only=only,
                drafts={} if drafts is None else drafts.by_part,
                original=partial(known_original, self._store, self.root, path, ask=cache.get),
                placed=partial(self._remember_written, cache, path, entry),
                progress=progress,
            )

    def unwritten(self, entries: Entries, only: Parts, reader: "Reader") -> tuple[str, ...]:
        """Return the paths that `write` would write; ``reader`` has what is on disk."""
        cache = self._seen()
        found: list[str] = []
        for path, entry in entries.items():
            wanted = self._wanted(path, entry, only)
            found += self._differing(cache, path, entry, wanted, reader)
        return tuple(found)

    def _wanted(self, path: str, entry: TreeEntry, only: Parts | None) -> list[str]:
        parts = self.parts(path, entry)
        return [p for p in parts if only is None or path not in only or p in only[path]]

    def _differing(
        self,
        cache: StatCache,
        path: str,
        entry: TreeEntry,
        wanted: Iterable[str],
        reader: "Reader | None" = None,
        *,
        kept: dict[str, os.stat_result] | None = None,
    ) -> list[str]:
        """Return which of these files of an entry are not on disk as it has them.

        ``kept`` gets the stat by which each of the others was known.
        """
        stats: dict[str, os.stat_result] = {}

        def seen(part: str) -> TreeEntry | None:
            try:
                stats[part] = safe_path(self.root, part).stat()
            except OSError:
                return None
            return cache.get(cache_key(path, part), stats[part])

        there = staying(self._store, path, entry, seen, reader)
        if kept is not None:
            kept |= {part: stats[part] for part in there}
        return [part for part in wanted if part not in there]

    def _remember_written(
        self,
        cache: StatCache,
        path: str,
        entry: TreeEntry,
        part: str,
        status: os.stat_result | None,
    ) -> None:
        target = self.root / part
        # One that is kept as a plain file may be damaged: the next who looks has to see it.
        if status is None or (entry.kind == "blob" and _looks_like_a_model(target)):
            return
        cache.put(cache_key(path, part), status, entry)

    def _bytes_of(self, entries: Entries, parts: Mapping[str, Iterable[str]]) -> int:
        sizes = {p: part_sizes(self._store, p, entries[p]) for p, found in parts.items() if found}
        return sum(sizes[path][part] for path, found in parts.items() for part in found)

    def lent(self, paths: Iterable[str]) -> AbstractContextManager[None]:
        """Let the store read chunks of these models from their files, where nothing has changed."""
        return self._lent(self._seen(), paths)

    @contextmanager
    def _lent(self, cache: StatCache, paths: Iterable[str]) -> Iterator[None]:
        from theta.workspace.copies import Copies

        with Copies(self._store) as copies:
            for path in paths:
                for item in group(self.root, [path] if (self.root / path).is_file() else []):
                    known = known_item(self.root, item, cache.likely)
                    self._lend(copies, item.path, known or {})
            if copies.is_empty:
                yield
                return
            with self._store.beside(copies):
                yield

    def _lend(self, copies: "Copies", path: str, known: Entries) -> None:
        for entry in known.values():
            if entry.kind == "checkpoint" and self._store.has(entry.id):
                # What is damaged cannot be lent; whoever needs it will say so.
                with suppress(IntegrityError):
                    for file in self._store.checkpoint(CheckpointId(entry.id)).files:
                        copies.add(self.root / part_path(path, file), entry, file)

    def export(self, entries: Entries, *, progress: Progress = SILENT) -> list[str]:
        """Write entries without remembering them: these files are not the workspace's."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._check_paths(entries)
        parts = {path: self.parts(path, entry) for path, entry in entries.items()}
        progress.begin("writing", self._bytes_of(entries, parts))
        written: list[str] = []
        for path, entry in entries.items():
            written += write_entry(self._store, self.root, path, entry, progress=progress)
        return written

    def _check_paths(self, entries: Entries) -> None:
        for path, entry in entries.items():
            if entry.kind == "checkpoint":
                check_checkpoint(self._store.checkpoint(CheckpointId(entry.id)))
            for part in self.parts(path, entry):
                safe_path(self.root, part)


def _looks_like_a_model(path: Path) -> bool:
    from theta.formats import HEAD_BYTES, recognise

    with path.open("rb") as file:
        return recognise(file.read(HEAD_BYTES), path.name) is not None
