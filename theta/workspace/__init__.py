"""The user's folder: which files are tracked, what they are now, and turning them into others.

Owns tracking, snapshots of many files, and moves from one state to another. Must not know refs,
commits or the operation log.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.diff import flatten_tree, overlaid
from theta.ignore import Ignore
from theta.params import flatten
from theta.progress import SILENT, Progress
from theta.stat_cache import StatCache
from theta.workspace import tracking as tracked
from theta.workspace.ancestry import Ancestry
from theta.workspace.checkout import remove_files, safe_path
from theta.workspace.items import Item, group
from theta.workspace.notices import Notice, lines
from theta.workspace.seen import cache_key, known_item
from theta.workspace.status import FileState, ParamReader, ParamState, Records, State, compare
from theta.workspace.staying import is_mixture
from theta.workspace.writing import Entries, Parts, Writing
from theta_store.errors import ResourceError, UnsavedChanges
from theta_store.ids import CheckpointId, TensorId, TreeId
from theta_store.records import TreeEntry
from theta_store.store import Hashing, Putter

if TYPE_CHECKING:
    from theta.checkpoint import Reader
    from theta.workspace.drafts import Drafts
    from theta.workspace.snapshot import Known, Taken

__all__ = [
    "Ancestry",
    "Entries",
    "FileState",
    "Move",
    "ParamState",
    "Parts",
    "Present",
    "State",
    "Workspace",
]

TRACKING_FILE = "workspace.json"


class Present(msgspec.Struct):
    """The tracked files as they are now: what they amount to, and the paths of all of them."""

    entries: dict[str, TreeEntry] = msgspec.field(default_factory=dict)
    files: frozenset[str] = frozenset()
    notices: list[Notice] = msgspec.field(default_factory=list)
    plain_bytes: int = 0
    # Where the records of all entries are read; None where they may not be stored.
    reader: "Reader | None" = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What reading had to say, a line per kind."""
        return tuple(lines(self.notices))


class Move(msgspec.Struct, frozen=True):
    """Files to write, paths to remove, and files that are tracked again."""

    writes: Entries
    removes: tuple[str, ...]
    returns: tuple[str, ...]


class Workspace(Writing):
    """The files below ``root``, with theta's own state for them in ``private``."""

    @property
    def tracking(self) -> tracked.Tracking:
        """What ``add`` and ``rm`` have said so far."""
        return tracked.load(self._private / TRACKING_FILE)

    def set_tracking(self, tracking: tracked.Tracking) -> None:
        """Replace what is tracked."""
        tracked.save(self._private / TRACKING_FILE, tracking)

    def relative(self, cwd: Path, path: str) -> str:
        """Return a user's path as one from the root."""
        return tracked.relative(self.root, cwd, path)

    def entries(self, tree: TreeId | None) -> dict[str, TreeEntry]:
        """Return a tree's entries by path; no tree has none."""
        if tree is None:
            return {}
        return dict(flatten_tree(self._store, tree))

    def _parts_here(self, path: str, entry: TreeEntry) -> tuple[str, ...]:
        # A model of which some shards were restored is on disk, but in no tree.
        stored = entry.kind != "checkpoint" or self._store.has(entry.id)
        return self.parts(path, entry) if stored else self.parts_present(path)

    def parts_present(self, path: str) -> tuple[str, ...]:
        """Return the files on disk that make one item with the file at ``path``."""
        return group(self.root, [path])[0].parts

    def tracked_paths(self, head: Entries) -> list[str]:
        """Return the tracked files that are on disk."""
        tracking = self.tracking
        named = {p for path, entry in head.items() for p in self.parts(path, entry)}
        named |= {pattern for pattern in tracking.patterns if (self.root / pattern).is_file()}
        found = {path for path in named if (self.root / path).is_file()}
        wide = [pattern for pattern in tracking.patterns if pattern not in named]
        if wide:
            found |= {p for p in self.walk() if any(tracked.covers(w, p) for w in wide)}
        gone = {*tracking.removed, *self._not_checked_out(tracking, head)}
        paths = sorted(path for path in found if path not in gone)
        for path in paths:
            tracked.check_name(path)
        return paths

    def _cut_links(self, head: Entries, items: Sequence[Item]) -> list[str]:
        """Return the files that HEAD has, or an index names, and that are links to nowhere."""
        here = {part for item in items for part in item.parts}
        named = [
            *(path for path in head if path not in here),
            *(m for i in items for m in i.missing),
        ]
        return [path for path in named if (self.root / path).is_symlink()]

    def _not_checked_out(self, tracking: tracked.Tracking, head: Entries) -> set[str]:
        """Return the files of HEAD that were never here; one that has appeared is looked after."""
        absent = {p for p in tracking.absent if p in head and not (self.root / p).is_file()}
        return {part for path in absent for part in self.parts(path, head[path])}

    def untracked_paths(self, head: Entries) -> list[str]:
        """Return the files on disk that are neither tracked nor ignored."""
        known = set(self.tracked_paths(head))
        for item in group(self.root, known):
            known.update(item.parts)
        return [path for path in self.walk() if path not in known]

    def walk(self) -> Iterable[str]:
        """Yield every file that no rule ignores."""
        return tracked.walk(self.root, Ignore(self.root))

    def present(
        self,
        head: Entries,
        putter: Putter,
        *,
        storing: bool,
        strict: bool = False,
        rehash: bool = False,
        progress: Progress = SILENT,
    ) -> Present:
        """Read the tracked files through ``putter``; those the stat cache knows are not read.

        A damaged model is told of and taken byte for byte, or refused where ``strict``.

        An entry that the cache knows but HEAD lacks must be readable in the store, and whole if
        ``storing``.
        """
        items = group(self.root, self.tracked_paths(head))
        cut = self._cut_links(head, items)
        if cut and strict:
            raise ResourceError(
                f"{cut[0]} is a link to what is not there; nothing was committed",
                hint=f"bring its target back, or theta rm {cut[0]}",
            )
        cache = self._seen()
        result = Present(files=frozenset(part for item in items for part in item.parts))
        result.reader = ParamReader(putter) if isinstance(putter, Hashing) else None
        todo: list[Item] = []
        for item in items:
            known = None if rehash else known_item(self.root, item, cache.get)
            if known is None or not self._is_there(known, head, whole=storing):
                todo.append(item)
            else:
                result.entries |= known
                result.plain_bytes += sum(self._size(part) for part in item.parts)
        progress.begin("reading", sum(self._size(part) for item in todo for part in item.parts))
        ancestry = Ancestry(self._store, [head]) if storing else None
        for item in todo:
            if ancestry is not None:
                ancestry.settle(item.path, putter.flush)
            known_parts = None if rehash else self._known_parts(cache, item, head, storing=storing)
            taken = self._take(putter, item, progress, ancestry, known_parts, strict=strict)
            if ancestry is not None:
                ancestry.add(taken.entries)
            result.entries |= taken.entries
            result.notices += taken.notices
            result.plain_bytes += taken.plain_bytes
            self._remember(cache, item, taken, storing=storing)
        if todo:
            cache.save()
        result.notices += [notice for item in items for notice in _incomplete(item)]
        result.notices += [Notice("a link to what is not there", path) for path in cut]
        return result

    def is_as(self, head: Entries) -> bool:
        """Say whether the tracked files are known to be as HEAD has them; none is read."""
        cache = self._seen()
        found: dict[str, TreeEntry] = {}
        for item in group(self.root, self.tracked_paths(head)):
            known = known_item(self.root, item, cache.get)
            if known is None:
                return False
            found |= known
        absent = self.tracking.absent
        return overlaid({p: e for p, e in head.items() if p in absent}, found) == head

    def compare(self, records: Records, head: Entries, present: Entries) -> tuple[FileState, ...]:
        """Return what differs between HEAD's entries and the present ones."""
        return tuple(compare(records, head, present, frozenset(self.tracking.absent)))

    def move(
        self,
        head: Entries,
        present: Present,
        target: Entries,
        *,
        force: bool = False,
        drafts: "Drafts | None" = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Turn the files of ``head`` into those of ``target``; return the paths written.

        A file that differs from both, or an untracked one in the way, is `UnsavedChanges` before
        anything is touched. ``force`` overwrites, also what differs from an unchanged target.
        ``drafts`` has a file that is begun.
        """
        plan = self.plan_move(head, present, target, force=force)
        written = self.write(plan.writes, drafts=drafts, progress=progress)
        remove_files(self.root, plan.removes)
        # What was written is tracked again, even if ``rm`` had taken it out on another branch.
        self._bring_back(plan.returns)
        return written

    def plan_move(
        self, head: Entries, present: Present, target: Entries, *, force: bool = False
    ) -> Move:
        """Return what `move` would do, or raise what it would."""
        changed = {p: e for p, e in target.items() if head.get(p) != e}
        gone = {p: e for p, e in head.items() if p not in target}
        if force:
            absent = set(self.tracking.absent) - present.entries.keys()
            changed |= {p: e for p, e in target.items() if p not in absent}
        else:
            self._check_clean(head, present, changed, gone)
        writes = {p: e for p, e in changed.items() if present.entries.get(p) != e}
        kept = {part for path, entry in target.items() for part in self.parts(path, entry)}
        # Files of a changed model that its new version does not have go as well.
        stale = {**gone, **{p: head[p] for p in changed if p in head}}
        old = {part for path, entry in stale.items() for part in self._parts_here(path, entry)}
        return Move(writes, tuple(sorted(old - kept)), tuple(changed))

    def _bring_back(self, paths: Iterable[str]) -> None:
        self._change_tracking(lambda old: tracked.returned(old, paths))

    def in_the_way(self, present: Present, target: Entries) -> list[str]:
        """Return the files on disk that are not tracked and lie where ``target`` writes."""
        wanted = {part for path, entry in target.items() for part in self.parts(path, entry)}
        there = (part for part in wanted - present.files if _is_there(self.root / part))
        return sorted(there)

    def take(self, paths: Iterable[str], putter: Putter, progress: Progress = SILENT) -> Present:
        """Read files whether they are tracked or not, each for itself."""
        result = Present()
        for path in paths:
            taken = self._take(putter, Item(path, (path,)), progress)
            result.entries |= taken.entries
        return result

    def take_as(
        self,
        source: Path,
        name: str,
        putter: Putter,
        before: Entries,
        progress: Progress = SILENT,
    ) -> Present:
        """Read a file or folder, tracked or not, as the entries of ``name``, after ``before``."""
        from theta.workspace.renamed import take_as

        hints = Ancestry(self._store, [before]).hints
        taken = take_as(putter, self.root, source, name, progress, hints)
        for path in taken.entries:
            safe_path(self.root, path)
        return Present(taken.entries, frozenset(), taken.notices, taken.plain_bytes)

    def leave_out(self, paths: Iterable[str]) -> None:
        """Note which of these files, HEAD's soon, are not here: they were never checked out."""
        missing = [path for path in paths if not (self.root / path).is_file()]
        self._change_tracking(lambda old: tracked.left_out(old, missing))

    def settle(self, held: Entries) -> None:
        """Forget what the tracking no longer needs to know once HEAD holds these files."""
        missing = {path for path in held if not (self.root / path).is_file()}
        self._change_tracking(lambda old: tracked.settled(old, held, missing))

    def _change_tracking(self, change: Callable[[tracked.Tracking], tracked.Tracking]) -> None:
        before = self.tracking
        after = change(before)
        if after != before:
            self.set_tracking(after)

    def _known_parts(
        self, cache: StatCache, item: Item, head: Entries, *, storing: bool
    ) -> "Known":
        """Return what gives the tensors of those shards of a changed model that did not change."""
        leaves: dict[bytes, Mapping[str, TensorId]] = {}

        def known(part: str, status: os.stat_result) -> Mapping[str, TensorId]:
            entry = cache.get(cache_key(item.path, part), status)
            if entry is None or entry.kind != "checkpoint":
                return {}
            if entry.id not in leaves:
                there = self._is_there({item.path: entry}, head, whole=storing)
                leaves[entry.id] = self._leaves(entry) if there else {}
            return leaves[entry.id]

        return known

    def _leaves(self, entry: TreeEntry) -> Mapping[str, TensorId]:
        return dict(flatten(self._store, self._store.checkpoint(CheckpointId(entry.id)).params))

    def _take(
        self,
        putter: Putter,
        item: Item,
        progress: Progress,
        ancestry: Ancestry | None = None,
        known: "Known | None" = None,
        *,
        strict: bool = False,
    ) -> "Taken":
        # Formats bring numpy; a workspace in which nothing changed does without them.
        from theta.workspace.snapshot import take

        hints = None if ancestry is None else ancestry.hints
        return take(putter, self.root, item, progress, hints, known, strict=strict)

    def _check_clean(
        self, head: Entries, present: Present, changed: Entries, gone: Entries
    ) -> None:
        dirty = self.in_the_way(present, {**changed, **gone})
        for path in changed.keys() | gone.keys():
            now = present.entries.get(path)
            sides = [side for side in (head.get(path), changed.get(path)) if side is not None]
            if now is None or now in sides:
                continue
            if not self._is_cut_short(path, now, sides, present.reader):
                dirty.append(path)
        if dirty:
            names = ", ".join(sorted(dirty)[:5]) + (" …" if len(dirty) > 5 else "")
            raise UnsavedChanges(
                f"{names} would be overwritten, and no commit holds what is there now; "
                "nothing was changed",
                hint="theta commit -am MESSAGE, or the same with --force",
            )

    def _is_cut_short(
        self, path: str, now: TreeEntry, sides: Collection[TreeEntry], reader: "Reader | None"
    ) -> bool:
        """Say whether a model is what an interrupted move between two states leaves behind."""
        return reader is not None and is_mixture(self._store, path, now, sides, reader)

    def _is_there(self, entries: Entries, head: Entries, *, whole: bool) -> bool:
        new = [entry.id for path, entry in entries.items() if head.get(path) != entry]
        return self._store.whole(new) if whole else all(self._store.has(id_) for id_ in new)

    def _remember(self, cache: StatCache, item: Item, taken: "Taken", *, storing: bool) -> None:
        whole = taken.entries.get(item.path)
        for part, status in taken.stats.items():
            entry = taken.entries.get(part, whole)
            # A model that is not stored has no tensors to give to the next who looks.
            if (
                entry is not None
                and part not in taken.broken
                and (storing or part not in taken.unread)
            ):
                # It was read after the cache was: what was written since may have been missed.
                cache.put(cache_key(item.path, part), status, entry, since=cache.loaded_ns)

    def _size(self, part: str) -> int:
        return (self.root / part).stat().st_size


def _is_there(path: Path) -> bool:
    """Say whether writing a file would take something away, be it a link to nowhere."""
    return path.is_file() or path.is_symlink()


def _incomplete(item: Item) -> Iterable[Notice]:
    """Yield what is to be said of an index whose model is not whole."""
    if item.missing:
        more = f" and {len(item.missing) - 1} more are" if len(item.missing) > 1 else " is"
        yield Notice(f"{item.missing[0]}{more} missing: its files are kept one by one", item.path)
