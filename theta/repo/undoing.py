"""``undo``, ``redo`` and the operation log.

Owns their steps. Must not know the terminal. Undo puts refs back, and the files that followed HEAD
if they hold nothing unsaved; what force overwrote comes back with them. Where no file followed, no
commit is read: undo is the way off one that nobody can read.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Undone
from theta_store.errors import ExpiredCommit, NotFound, ThetaError
from theta_store.ids import CommitId, RecordId, short
from theta_store.records import TreeEntry
from theta_store.store import (
    HEAD,
    Operation,
    RefChange,
    append_redo,
    append_undo,
)

if TYPE_CHECKING:
    from theta.workspace import Entries
    from theta_store.store import Session


class _Steps(msgspec.Struct, frozen=True):
    """What files were, are and will be: by HEAD before and after, and by the operation itself.

    ``there`` is what it left, as far as it was told, and ``back`` what it is to leave.
    """

    head: "Entries"
    after: "Entries"
    back: "Entries"
    there: "Entries"


class Undoing(Opened):
    """The verbs of this file."""

    def operations(self) -> Iterator[Operation]:
        """Yield the operation log, newest first."""
        return self.store.operations()

    def undo(self, *, progress: Progress = SILENT) -> Undone:
        """Take the newest operation back that is not undone yet and can be.

        `NotFound` where gc took what it would bring back; a merge that waits is `UnsavedChanges`.
        """
        target = self.undo_target()
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
        """Return the operation that undo takes back; one that it cannot is an error, as of `undo`.

        Commits given up whose files gc has collected since stay so: undo goes past that operation.
        """
        self._check_not_merging()
        target = self.store.undo_target()
        while target.expired and not target.changes and not self.store.complete(target.expired):
            below = target.below
            found = next((op for op in self.operations() if op.number == below), None)
            if found is None:
                break
            target = found
        self._check_whole(target.expired)
        self._check_there("undo", [change.reversed() for change in target.changes], target)
        return target

    def redo_target(self) -> Operation:
        """Return the operation that redo brings again; one that it cannot is an error."""
        self._check_not_merging()
        target = self.store.redo_target()
        self._check_there("redo", target.changes, target)
        return target

    def redo(self, *, progress: Progress = SILENT) -> Undone:
        """Bring the operation again that the newest undo took back."""
        target = self.redo_target()
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

    def _check_there(self, verb: str, changes: Sequence[RefChange], target: Operation) -> None:
        """Refuse what would name a commit that gc has taken; it takes all of a commit or nothing.

        The same goes for the files that the operation overwrote and stored.
        """
        ids = (*(change.new for change in changes), target.saved)
        needed = [id_ for id_ in ids if isinstance(id_, bytes)]
        gone = [id_ for id_ in needed if not self.store.has(RecordId(id_))]
        if gone:
            back = "taken back" if verb == "undo" else "brought again"
            raise NotFound(
                f"gc has taken {short(gone[0])} since: '{target.verb} {target.summary}' "
                f"can no longer be {back}; nothing was changed",
                hint="theta op log",
            )

    def _replay(
        self,
        operation: Operation,
        target: Operation,
        log: Callable[..., Operation],
        progress: Progress,
    ) -> Undone:
        steps = self._steps(operation, target) if operation.wrote else None
        notices: tuple[str, ...] = ()
        # What cannot be read is no reason not to leave it.
        with suppress(ThetaError):
            notices = self._notices(operation, target)

        def work(session: "Session") -> tuple[tuple[str, ...], tuple[str, ...]]:
            # Again, now that gc leaves alone what is there, or makes `publish` fail.
            self._check_there(operation.verb, operation.changes, target)
            files: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
            if steps is not None:
                files = self._follow(steps, progress)
            saved = () if operation.saved is None else (operation.saved,)
            session.publish(operation, log=log, commits=saved)
            return files

        written, kept = self._retried(work)
        return Undone(target, self.head, written, kept, notices)

    def _notices(self, operation: Operation, target: Operation) -> tuple[str, ...]:
        """Say that a merge which waited for a commit does not wait again without it."""
        if operation.verb != "undo" or target.verb not in {"commit", "redo"} or target.wrote:
            return ()
        change = target.changes[0] if target.changes else None
        if change is None or not isinstance(change.new, bytes):
            return ()
        commit = self.store.commit(CommitId(RecordId(change.new)))
        if commit.recipe is None or len(commit.parents) < 2 or commit.parents[0] != change.old:
            return ()
        from theta.merge import read_recipe

        others = " ".join(read_recipe(self.store.read_bytes(commit.recipe)).labels[1:])
        told = (
            f"the merge of {others} is no longer pending: the next commit will be no merge; "
            "theta redo brings it again, and theta commit --amend then changes it; "
            f"theta restore . and theta merge {others} make it anew"
        )
        return (told,)

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
        from theta.workspace import Present

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
