"""``commit``: the tracked files as they are become a commit.

Owns its steps. Must not know the terminal.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from theta.diff import build_tree, flatten_tree
from theta.merge import Pending, pending
from theta.progress import SILENT, Progress
from theta.repo.opened import MERGE_FILE, Opened
from theta.repo.values import Author, Committed, Details
from theta.workspace import Entries
from theta.workspace import tracking as tracked
from theta_store.errors import (
    NothingToCommit,
    UnknownFile,
    UsageError,
)
from theta_store.ids import BlobId, CommitId, TreeId
from theta_store.records import Commit, Tree
from theta_store.store import (
    HEAD,
    Head,
    Operation,
    RefChange,
    Session,
)


class Committing(Opened):
    """The verbs of this file."""

    def commit(
        self,
        message: str,
        *,
        author: Author,
        paths: Sequence[str] = (),
        cwd: Path | None = None,
        details: Details | None = None,
        progress: Progress = SILENT,
    ) -> Committed:
        """Commit the tracked files as they are; with ``paths``, only those.

        Nothing changed is `NothingToCommit` unless the details allow an empty commit.
        """
        details = details or Details()
        wanted = [self.workspace.relative(cwd or self.root, path) for path in paths]
        return self._retried(
            lambda session: self._commit(session, message, author, wanted, details, progress)
        )

    def _commit(
        self,
        session: Session,
        message: str,
        author: Author,
        wanted: Sequence[str],
        details: Details,
        progress: Progress,
    ) -> Committed:
        head = self.store.refs.head()
        before = self.entries(head.commit)
        present = self.workspace.present(
            before, session, storing=True, rehash=details.rehash, progress=progress
        )
        waiting = pending.load(self.private / MERGE_FILE)
        if waiting is not None and wanted:
            raise UsageError("a merge is committed as a whole, not by paths")
        tree = self._tree(session, before, present.entries, wanted)
        parents = self._parents(head, details, waiting)
        old = None if head.commit is None else self.store.commit(head.commit)
        if old is not None and tree == old.tree and not (details.may_be_empty or waiting):
            raise NothingToCommit("nothing to commit: every tracked file is as HEAD has it")
        if old is None and not present.entries and not details.may_be_empty:
            raise NothingToCommit("nothing to commit: no file is tracked", hint="theta add PATH")
        recipe = None if waiting is None else session.put_bytes(waiting.recipe.encode())
        commit = commit_record(tree, parents, message, author, details, recipe)
        id_ = CommitId(session.put_record(commit))
        change = RefChange(head.branch or HEAD, head.commit, id_)
        summary = commit.subject
        verb = "commit --amend" if details.amend else "commit"
        session.publish(Operation(0, 0, verb, summary, (change,)), commits=[id_])
        pending.drop(self.private / MERGE_FILE)
        self._settle_tracking(tree)
        return Committed(
            id_,
            commit,
            head.branch,
            session.stored_bytes,
            present.plain_bytes,
            tuple(present.warnings),
        )

    def _tree(
        self, session: Session, before: Entries, present: Entries, wanted: Sequence[str]
    ) -> TreeId:
        """Return the tree to commit: what is there, and what was never checked out."""
        absent = set(self.workspace.tracking.absent)
        entries = dict(present) | {p: e for p, e in before.items() if p in absent}
        if wanted:
            chosen = {p: e for p, e in entries.items() if any(tracked.covers(w, p) for w in wanted)}
            rest = {
                p: e for p, e in before.items() if not any(tracked.covers(w, p) for w in wanted)
            }
            if not chosen and rest == dict(before):
                raise UnknownFile(f"{', '.join(wanted)}: not tracked; nothing was committed")
            entries = rest | chosen

        def put(tree: Tree) -> TreeId:
            return TreeId(session.put_record(tree))

        return build_tree(entries, put)

    def _parents(
        self, head: Head, details: Details, waiting: Pending | None
    ) -> tuple[CommitId, ...]:
        if waiting is not None:
            if details.amend or head.commit != waiting.head:
                raise UsageError("HEAD moved while a merge was waiting", hint="theta merge --abort")
            return waiting.head, waiting.other
        if details.amend:
            if head.commit is None:
                raise UsageError("there is no commit to amend")
            return self.store.commit(head.commit).parents
        return () if head.commit is None else (head.commit,)

    def _settle_tracking(self, tree: TreeId) -> None:
        """Forget what ``rm`` took out once no commit at HEAD and no pattern brings it back."""
        tracking = self.workspace.tracking
        held = set(dict(flatten_tree(self.store, tree)))
        still = tuple(
            path
            for path in tracking.removed
            if path in held or any(tracked.covers(p, path) for p in tracking.patterns)
        )
        if still != tracking.removed:
            self.workspace.set_tracking(tracked.kept_out(tracking, still))


def commit_record(
    tree: TreeId,
    parents: tuple[CommitId, ...],
    message: str,
    author: Author,
    details: Details,
    recipe: BlobId | None,
) -> Commit:
    """Return a commit's record of this moment."""
    return Commit(
        tree,
        parents,
        author.name,
        time.time_ns() // 1000,
        author.zone,
        message,
        details.step,
        {name: float(value) for name, value in (details.metrics or {}).items()},
        dict(details.meta or {}),
        recipe,
    )
