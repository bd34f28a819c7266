"""``undo``, ``redo`` and the operation log.

Owns their steps. Must not know the terminal. Undo puts refs back, and the files that followed HEAD
if they hold nothing unsaved; what force overwrote comes back with them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Undone
from theta.workspace import Entries, Present
from theta_store.errors import ExpiredCommit
from theta_store.ids import CommitId, short
from theta_store.records import TreeEntry
from theta_store.store import (
    HEAD,
    Operation,
    RefChange,
    Session,
    append_redo,
    append_undo,
)


@dataclass(frozen=True)
class _Steps:
    """What files were, are and will be: by HEAD before and after, and by the operation itself.

    ``there`` is what it left, as far as it was told, and ``back`` what it is to leave.
    """

    head: Entries
    after: Entries
    back: Entries
    there: Entries


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
            # So that undo can take it back again.
            saved=target.saved,
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
        steps = self._steps(operation, target)

        def work(session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
            files: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
            if operation.wrote:
                files = self._follow(steps, progress)
            saved = () if operation.saved is None else (operation.saved,)
            session.publish(operation, log=log, commits=saved)
            return files

        written, kept = self._retried(work)
        return Undone(target, self.head, written, kept)

    def _steps(self, operation: Operation, target: Operation) -> _Steps:
        head = self.entries(self.head.commit)
        after = self.entries(self._head_after(operation.changes))
        if target.saved is None:
            return _Steps(head, after, {}, {})
        overwritten, written = self.entries(target.saved), self._written(target.saved)
        if operation.verb == "undo":
            return _Steps(head, after, overwritten, written)
        return _Steps(head, after, written, overwritten)

    def _head_after(self, changes: Sequence[RefChange]) -> CommitId | None:
        """Return the commit that HEAD will be at."""
        new = {change.name: change.new for change in changes}
        head = self.head
        at = new.get(HEAD, head.branch or head.commit)
        if not isinstance(at, str):
            return CommitId(at) if at is not None else None
        moved = new.get(at, self.store.refs.get(at))
        return None if moved is None or isinstance(moved, str) else CommitId(moved)

    def _follow(self, steps: _Steps, progress: Progress) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Move the clean files to what they are to be; return those written and those kept."""
        head, after, own = steps.head, steps.after, {**steps.there, **steps.back}
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        blocked = set(self.workspace.in_the_way(present, after))
        wanted = {path for path in head.keys() | after.keys() if head.get(path) != after.get(path)}
        dirty = {
            path
            for path in wanted | own.keys()
            if path in blocked or not self._is_clean(present.entries.get(path), path, steps)
        }
        old = {path: entry for path, entry in head.items() if path not in dirty}
        # What the operation itself wrote, from wherever, is as good as HEAD's.
        old |= {p: e for p, e in present.entries.items() if p in own and p not in dirty}
        new = {p: entry for p, entry in {**after, **steps.back}.items() if p not in dirty}
        now = Present(
            {path: entry for path, entry in present.entries.items() if path not in dirty},
            present.files,
        )
        written = self.workspace.move(old, now, new, progress=progress)
        return tuple(written), tuple(sorted(dirty))

    def _is_clean(self, now: TreeEntry | None, path: str, steps: _Steps) -> bool:
        """Say whether overwriting a file loses nothing that a commit does not hold."""
        own = (entries[path] for entries in (steps.there, steps.back) if path in entries)
        if now in (steps.head.get(path), steps.after.get(path), *own):
            return True
        # Operations that an older theta logged do not say what they wrote.
        told = bool(steps.there) or path not in steps.back
        return not told and now is not None and self.store.whole([now.id])
