"""``undo``, ``redo`` and the operation log.

Owns their steps. Must not know the terminal. Undo puts refs back, and the files that followed HEAD
if they hold nothing unsaved; what force overwrote comes back with them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from theta.params import flatten
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Undone
from theta.workspace import Entries, Present
from theta.workspace.status import ParamReader
from theta_store.errors import ExpiredCommit
from theta_store.ids import CheckpointId, CommitId, RecordId, short
from theta_store.records import TreeEntry
from theta_store.store import (
    HEAD,
    Hashing,
    Operation,
    RefChange,
    Session,
    append_redo,
    append_undo,
)


@dataclass(frozen=True)
class _Follow:
    """A move of files from ``old`` to ``new``; ``now`` is what of them is on disk.

    ``overwritten`` was saved or written by the operation itself and is in no commit; ``kept`` are
    the paths of files that hold something unsaved.
    """

    old: Entries
    now: Present
    new: Entries
    overwritten: Entries
    kept: tuple[str, ...]


class Undoing(Opened):
    """The verbs of this file."""

    def operations(self) -> Iterator[Operation]:
        """Yield the operation log, newest first."""
        return self.store.operations()

    def undo(self, *, progress: Progress = SILENT) -> Undone:
        """Take the newest operation back that is not undone yet and can be."""
        target = self.undo_target()
        self._check_whole(target.expired)
        undoing = Operation(
            0,
            0,
            "undo",
            f"{target.verb} {target.summary}".strip(),
            tuple(change.reversed() for change in reversed(target.changes)),
            expired=target.revived,
            revived=target.expired,
            wrote=target.wrote,
        )
        return self._replay(undoing, target, lambda w, op: append_undo(w, target, op), progress)

    def undo_target(self) -> Operation:
        """Return the operation that undo takes back.

        Commits given up whose files gc has collected since stay so: undo goes past that operation.
        """
        target = self.store.undo_target()
        while target.expired and not target.changes and not self.store.complete(target.expired):
            below = target.below
            found = next((op for op in self.operations() if op.number == below), None)
            if found is None:
                return target
            target = found
        return target

    def redo(self, *, progress: Progress = SILENT) -> Undone:
        """Bring the operation again that the newest undo took back."""
        target = self.store.redo_target()
        redoing = Operation(
            0,
            0,
            "redo",
            f"{target.verb} {target.summary}".strip(),
            target.changes,
            expired=target.expired,
            revived=target.revived,
            wrote=target.wrote,
        )
        return self._replay(redoing, target, append_redo, progress)

    def _check_whole(self, expired: Sequence[CommitId]) -> None:
        gone = [id_ for id_ in expired if not self.store.complete([id_])]
        if gone:
            raise ExpiredCommit(
                f"the files of {short(gone[0])} were collected since; nothing was changed",
                hint="theta op log",
            )

    def _replay(
        self,
        operation: Operation,
        target: Operation,
        log: Callable[..., Operation],
        progress: Progress,
    ) -> Undone:
        head = self.entries(self.head.commit)
        after = self.entries(self._head_after(operation.changes))
        origin = target.saved if operation.verb == "undo" else self._overwritten_by_undo(target)
        saved = {} if origin is None else self.entries(origin)

        def work(session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
            files: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
            logged = operation
            if operation.wrote:
                follow = self._plan_follow(head, after, saved)
                if follow.overwritten:
                    logged = replace(operation, saved=self._save(session, follow.overwritten))
                written = self.workspace.move(follow.old, follow.now, follow.new, progress=progress)
                files = tuple(written), follow.kept
            session.publish(logged, log=log, commits=[logged.saved] if logged.saved else ())
            return files

        written, kept = self._retried(work)
        return Undone(target, self.head, written, kept)

    def _overwritten_by_undo(self, target: Operation) -> CommitId | None:
        """Return what the newest undo of an operation overwrote, if it is still there."""
        undone = (op for op in self.operations() if op.verb == "undo" and op.redo == target.number)
        saved = next((op.saved for op in undone), None)
        return saved if saved is not None and self.store.complete([saved]) else None

    def _head_after(self, changes: Sequence[RefChange]) -> CommitId | None:
        """Return the commit that HEAD will be at."""
        new = {change.name: change.new for change in changes}
        head = self.head
        at = new.get(HEAD, head.branch or head.commit)
        if not isinstance(at, str):
            return CommitId(at) if at is not None else None
        moved = new.get(at, self.store.refs.get(at))
        return None if moved is None or isinstance(moved, str) else CommitId(moved)

    def _plan_follow(self, head: Entries, after: Entries, saved: Entries) -> _Follow:
        """Return how the clean files move from ``head`` to ``after``, and to what was saved."""
        hashed = self.store.hashing()
        present = self.workspace.present(head, hashed, storing=False)
        blocked = set(self.workspace.in_the_way(present, after))
        wanted = {path for path in head.keys() | after.keys() if head.get(path) != after.get(path)}
        wanted |= saved.keys()
        dirty = {
            path
            for path in wanted
            if path in blocked
            or not self._is_clean(hashed, present.entries.get(path), path, head, after, saved)
        }
        old = {path: entry for path, entry in head.items() if path not in dirty}
        # What the operation itself wrote, from wherever, is as good as HEAD's.
        old |= {p: e for p, e in present.entries.items() if p in saved and p not in dirty}
        new = {path: entry for path, entry in {**after, **saved}.items() if path not in dirty}
        now = Present(
            {path: entry for path, entry in present.entries.items() if path not in dirty},
            present.files,
        )
        mine = {path: entry for path, entry in now.entries.items() if path in saved}
        # A model of which some shards were restored has no record that a commit could name.
        overwritten = {p: entry for p, entry in mine.items() if self.store.whole([entry.id])}
        return _Follow(old, now, new, overwritten, tuple(sorted(dirty)))

    def _is_clean(
        self,
        hashed: Hashing,
        now: TreeEntry | None,
        path: str,
        head: Entries,
        after: Entries,
        saved: Entries,
    ) -> bool:
        """Say whether overwriting a file loses nothing that the store does not hold."""
        if now in (head.get(path), after.get(path)):
            return True
        return path in saved and now is not None and self.store.whole(_parts_of(hashed, now))


def _parts_of(hashed: Hashing, entry: TreeEntry) -> list[RecordId]:
    """Return what an entry is made of; a model of which one shard was restored is in no tree."""
    if entry.kind != "checkpoint":
        return [entry.id]
    reader = ParamReader(hashed)
    record = reader.checkpoint(CheckpointId(entry.id))
    return [*(file.layout for file in record.files), *dict(flatten(reader, record.params)).values()]
