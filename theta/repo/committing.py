"""``commit``: the tracked files as they are become a commit.

Owns its steps. Must not know the terminal.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from theta.diff import build_tree, flatten_tree
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Author, Committed, Details
from theta.workspace import Entries
from theta.workspace import tracking as tracked
from theta_store.errors import (
    NothingToCommit,
    UnknownFile,
    UsageError,
)
from theta_store.ids import CommitId, TreeId
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
        tree = self._tree(session, before, present.entries, wanted)
        parents = self._parents(head, details)
        old = None if head.commit is None else self.store.commit(head.commit)
        if old is not None and tree == old.tree and not details.may_be_empty:
            raise NothingToCommit("nothing to commit: every tracked file is as HEAD has it")
        if old is None and not present.entries and not details.may_be_empty:
            raise NothingToCommit("nothing to commit: no file is tracked", hint="theta add PATH")
        commit = _commit_record(tree, parents, message, author, details)
        id_ = CommitId(session.put_record(commit))
        change = RefChange(head.branch or HEAD, head.commit, id_)
        summary = commit.subject
        verb = "commit --amend" if details.amend else "commit"
        session.publish(Operation(0, 0, verb, summary, (change,)), commits=[id_])
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

    def _parents(self, head: Head, details: Details) -> tuple[CommitId, ...]:
        if details.amend:
            if head.commit is None:
                raise UsageError("there is no commit to amend")
            return self.store.commit(head.commit).parents
        return () if head.commit is None else (head.commit, *details.merged)

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


def _commit_record(
    tree: TreeId, parents: tuple[CommitId, ...], message: str, author: Author, details: Details
) -> Commit:
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
    )
