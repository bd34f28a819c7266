"""``commit``: the tracked files as they are, or a folder under another name, become a commit.

Owns its steps. Must not know the terminal.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from theta.diff import build_tree
from theta.guard import check_guard, non_finite
from theta.merge import Pending, pending
from theta.progress import SILENT, Progress
from theta.repo.contents import Content, Contents, Place
from theta.repo.opened import MERGE_FILE
from theta.repo.statistics import put_sums, ref_of
from theta.repo.values import Author, Committed, Details, check_author, checked_text, listed
from theta.workspace import Entries
from theta_store.errors import GuardFailed, IntegrityError, NothingToCommit, UsageError
from theta_store.ids import BlobId, CommitId, TreeId
from theta_store.records import Commit
from theta_store.store import HEAD, Operation, RefChange

if TYPE_CHECKING:
    from theta_store.store import Session

SHOWN = 5


class Committing(Contents):
    """The verbs of this file."""

    def commit(
        self,
        message: str,
        *,
        author: Author,
        paths: str | Sequence[str] = (),
        cwd: Path | None = None,
        details: Details | None = None,
        progress: Progress = SILENT,
        timings: bool = False,
    ) -> Committed:
        """Commit the tracked files as they are; with ``paths``, only those.

        With ``details.as_name``, one file or folder, tracked or not, takes the place of what the
        parent has under that name. With ``details.branch``, that branch is made or goes on and HEAD
        stays; files of the branch that HEAD lacks were never here and are kept. Nothing changed is
        `NothingToCommit` unless the details allow an empty commit; values that a guard refuses are
        `GuardFailed`. With ``timings`` the answer says where the time went.
        """
        details = details or Details()
        check_author(author)
        checked_text("the message", message)
        for guard in details.guards:
            check_guard(guard)
        paths = listed(paths)
        if details.is_plain and not paths:
            self._check_seen()
        read = self._reader(paths, cwd or self.root, details, progress)

        def work(session: "Session") -> Committed:
            place = self._place(details.branch)
            if details.rehash:
                self._mend_head(session, place, progress)
            waiting = pending.load(self.private / MERGE_FILE)
            if waiting is not None and not (place.is_head and not paths):
                raise UsageError(
                    "a merge waits: it is committed as a whole, to HEAD",
                    hint="theta commit -m MESSAGE, or theta merge --abort",
                )
            before = self.entries(place.tip)
            content = read(session, place, before)
            self._check_guards(session, before, content.entries, details, progress)
            return self._commit(session, place, content, message, author, details, waiting)

        if not timings:
            return self._retried(work, verify=details.rehash)
        from theta_store.timings import Stopwatch

        watch = Stopwatch()
        done = self._retried(work, watch, verify=details.rehash)
        return replace(done, timings=watch.finish())

    def _check_seen(self) -> None:
        """Refuse to commit what is known to be as HEAD has it, before a session is opened."""
        self.store.check_writable()
        place = self._place(None)
        if place.tip is None or pending.load(self.private / MERGE_FILE) is not None:
            return
        if self.workspace.is_as(self.entries(place.tip)):
            raise _unchanged(place)

    def _mend_head(self, session: "Session", place: Place, progress: Progress) -> None:
        """Where HEAD cannot be walked, store what the tracked files are before it is looked at.

        If that is what HEAD has, it can be walked again.
        """
        heads = [commit for commit in (place.tip, self.head.commit) if commit is not None]
        with suppress(IntegrityError):
            if self.store.complete(heads):
                return
        present = self.workspace.present({}, session, storing=True, rehash=True, progress=progress)
        build_tree(present.entries, lambda tree: TreeId(session.put_record(tree)))
        session.flush()

    def _check_guards(
        self,
        session: "Session",
        before: Entries,
        entries: Entries,
        details: Details,
        progress: Progress,
    ) -> None:
        if "finite" not in details.guards:
            return
        session.flush()
        bad = non_finite(self.store, before, entries, progress)
        if bad:
            more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise GuardFailed(
                f"NaN or infinity in {', '.join(bad[:SHOWN])}{more}; nothing was committed",
                hint="repair the values, or commit without --guard finite",
            )

    def _commit(
        self,
        session: "Session",
        place: Place,
        content: Content,
        message: str,
        author: Author,
        details: Details,
        waiting: Pending | None,
    ) -> Committed:
        tree = build_tree(content.entries, lambda tree: TreeId(session.put_record(tree)))
        # What was damaged stays mended where there is nothing to commit.
        session.mend()
        if not (details.may_be_empty or waiting):
            self._check_changed(place, tree, content, _told_of_mending(session))
        parents = self._parents(place, details, waiting)
        replaced = self.store.commit(place.now) if details.amend and place.now else None
        recipe = replaced.recipe if replaced else None
        known: dict[str, CommitId] = {}
        if waiting is not None:
            from theta.merge import read_recipe

            recipe = session.put_bytes(waiting.recipe.encode())
            statistics = read_recipe(waiting.recipe.encode()).statistics
            known = put_sums(self.store, session, statistics)
        commit = commit_record(tree, parents, message, author, details.inherited(replaced), recipe)
        id_ = CommitId(session.put_record(commit))
        if place.is_head:
            # Before the commit is there, so that its files never count as deleted.
            self.workspace.leave_out(content.named)
        summary = commit.subject if place.is_head else f"{place.branch}: {commit.subject}"
        change = RefChange(place.ref, place.now, id_)
        kept = (RefChange(ref_of(kind, id_), None, new) for kind, new in known.items())
        operation = Operation(0, 0, _verb(details), summary, (change, *kept))
        session.publish(operation, commits=[id_, *known.values()])
        if place.is_head:
            pending.drop(self.private / MERGE_FILE)
            self.workspace.settle(content.entries)
        branch = None if place.ref == HEAD else place.ref
        read = content.read
        warnings = (*read.warnings, *_told_of_mending(session))
        return Committed(id_, commit, branch, session.stored_bytes, read.plain_bytes, warnings)

    def _check_changed(
        self, place: Place, tree: TreeId, content: Content, told: Sequence[str]
    ) -> None:
        if place.tip is None and not content.entries:
            raise NothingToCommit("nothing to commit: no file is tracked", hint="theta add PATH")
        if place.tip is not None and tree == self.store.commit(place.tip).tree:
            raise _unchanged(place, told)

    def _parents(
        self, place: Place, details: Details, waiting: Pending | None
    ) -> tuple[CommitId, ...]:
        if waiting is not None:
            if details.amend or place.now != waiting.head:
                raise UsageError("HEAD moved while a merge was waiting", hint="theta merge --abort")
            return (waiting.head, *waiting.parents)
        if details.amend:
            if place.now is None:
                raise UsageError("there is no commit to amend")
            return self.store.commit(place.now).parents
        return () if place.tip is None else (place.tip,)


def _unchanged(place: Place, told: Sequence[str] = ()) -> NothingToCommit:
    same = f"nothing to commit: every file is as {place.label} has it"
    return NothingToCommit("; ".join((same, *told)))


def _told_of_mending(session: "Session") -> tuple[str, ...]:
    """Say what the store had and could not read, if anything."""
    if not session.mended:
        return ()
    what = "chunk or record that was" if session.mended == 1 else "chunks and records that were"
    return (f"stored again {session.mended} {what} damaged or missing (theta fsck: what is left)",)


def _verb(details: Details) -> str:
    return "commit --amend" if details.amend else "commit"


def commit_record(
    tree: TreeId,
    parents: tuple[CommitId, ...],
    message: str,
    author: Author,
    details: Details,
    recipe: BlobId | None,
) -> Commit:
    """Return a commit's record of this moment; text that is none is a `UsageError`."""
    check_author(author)
    return Commit(
        tree,
        parents,
        author.name,
        time.time_ns() // 1000,
        author.zone,
        checked_text("the message", message),
        details.step,
        dict(details.metrics or {}),
        dict(details.meta or {}),
        recipe,
    )
