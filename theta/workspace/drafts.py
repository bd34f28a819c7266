"""Files that are begun before all their tensors are known: a merge writes while it computes.

Owns which file is begun, and the note by which a file that a killed process left behind is found
and removed. Must not know how tensors are made.

One file at a time is begun, so that a merge takes no more room on the disk than a checkout: the one
with most of the bytes that are awaited.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from filelock import FileLock, Timeout

from theta.formats.layout import Scatter, Span, decode_layout
from theta.params import flatten
from theta.workspace.checkout import check_checkpoint, part_path, safe_path
from theta.workspace.draft import TEMPORARY, Draft, Planned
from theta.workspace.original import Original
from theta_store.errors import ResourceError
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import Checkpoint, File, TreeEntry
from theta_store.store import Sink, Store

# What is known of a file on disk, by the path of its model and its own.
FindOriginal = Callable[[str, str], Original | None]


class _Plan(msgspec.Struct, frozen=True):
    """A file that could be begun, the names that are awaited, and how many bytes of it are."""

    path: str
    record: Checkpoint
    file: File
    executable: bool
    names: frozenset[str]
    awaited: int


class Drafts:
    """The file that is begun, if any; a context that leaves none behind.

    ``note`` is a file of theta's own that says which temporary file is in work. Only whoever has
    its lock begins one, so that no file of a living process is taken for left behind.
    """

    def __init__(self, root: Path, note: Path, store: Store, original: FindOriginal) -> None:
        self._root = root
        self._note = note
        self._original = original
        self._lock = FileLock(note.with_name(f"{note.name}.lock"), blocking=False)
        self._store = store
        self._path: str | None = None
        self.by_part: dict[str, Draft] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for draft in self.by_part.values():
            draft.discard()
        if self._lock.is_locked:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def begin(
        self, layouts: Mapping[str, TreeEntry], awaited: Mapping[str, Collection[str]]
    ) -> None:
        """Begin a file of these models; ``awaited`` are the names that will be given, by path.

        Each model is expected to have the files of an entry, with other tensors in them. Where
        there is no room for a file beside what will be stored, none is begun.
        """
        try:
            self._lock.acquire()
        except Timeout:
            return
        self._sweep()
        plans = [
            plan
            for path, entry in layouts.items()
            for plan in self._plans(path, entry, frozenset(awaited[path]))
        ]
        best = max(plans, key=lambda plan: plan.awaited, default=None)
        if best is None or not best.awaited:
            return
        part = part_path(best.path, best.file)
        target = safe_path(self._root, part)
        if target.is_file():
            self._open(best, part, target)

    def sink(self, path: str, names: Collection[str]) -> Sink | None:
        """Return where the bytes of a tensor go that these names of a model get."""
        if path != self._path:
            return None
        (draft,) = self.by_part.values()
        return draft.give(names)

    def settle(self, path: str, names: Collection[str], tensor: TensorId) -> None:
        """Say which tensor it was, once all its bytes came."""
        if path == self._path:
            for draft in self.by_part.values():
                draft.settle(names, tensor)

    def _plans(self, path: str, entry: TreeEntry, names: frozenset[str]) -> Iterator[_Plan]:
        record = self._store.checkpoint(CheckpointId(entry.id))
        check_checkpoint(record)
        for file in record.files:
            layout = decode_layout(self._store.read_bytes(file.layout))
            found = (s for s in layout.segments if isinstance(s, Span | Scatter))
            size = sum(segment.size for segment in found if segment.name in names)
            yield _Plan(path, record, file, entry.executable, names, size)

    def _open(self, plan: _Plan, part: str, target: Path) -> None:
        ids = dict(flatten(self._store, plan.record.params))
        tensors = dict(zip(ids, self._store.tensors(ids.values()), strict=True))
        planned = Planned(plan.file, ids, tensors, plan.executable)
        try:
            original = self._original(plan.path, part)
            draft = Draft(self._store, target, planned, original, plan.names)
        except ResourceError:
            # Whoever writes the file in the end says what is wrong.
            return
        if not _has_room(target, draft.room + plan.awaited):
            draft.discard()
            return
        self._note.write_text(draft.path.relative_to(self._root).as_posix())
        self._path, self.by_part = plan.path, {part: draft}

    def _sweep(self) -> None:
        """Remove what a process that was killed has left; a note that is damaged is dropped."""
        if not self._note.is_file():
            return
        left = self._root / self._note.read_text(errors="replace")
        with suppress(OSError, ValueError):
            inside = left.parent.resolve().is_relative_to(self._root.resolve())
            if inside and left.name.startswith(TEMPORARY):
                left.unlink()
        self._note.unlink()


def _has_room(target: Path, size: int) -> bool:
    return shutil.disk_usage(target.parent).free >= size
