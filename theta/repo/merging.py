"""``merge``: plan, decide, apply, and either commit or wait.

Owns its steps. Must not know the terminal: whoever is asked about conflicts gives decisions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from theta.diff import build_tree
from theta.history import is_ancestor, merge_bases
from theta.merge import pending
from theta.progress import SILENT, Progress
from theta.repo.committing import commit_record
from theta.repo.opened import MERGE_FILE, Opened
from theta.repo.values import Author, Details, MergeAnswer
from theta.workspace import Entries
from theta_store.errors import NotFound, UsageError
from theta_store.ids import BlobId, CommitId, TreeId
from theta_store.records import Tree
from theta_store.store import HEAD, Operation, RefChange, Session

if TYPE_CHECKING:
    from theta.merge import Decisions, Merged, Plan, Rule


class _Left(Exception):
    """Conflicts are left; nothing was written."""

    def __init__(self, merged: "Merged") -> None:
        super().__init__()
        self.merged = merged


class Merging(Opened):
    """The verbs of this file."""

    def plan_merge(self, revision: str, *, allow_unrelated: bool = False) -> "Plan":
        """Return what ids alone settle and what is open; no tensor is read."""
        from theta.merge import Plan, plan_merge

        ours = self.head.commit
        if ours is None:
            raise UsageError("there is no commit to merge into", hint="theta commit first")
        theirs = self.resolve(revision)
        bases = merge_bases(self.store, ours, theirs)
        if not bases and not allow_unrelated:
            raise UsageError(
                f"{revision} shares no history with HEAD",
                hint=f"theta merge --allow-unrelated {revision}",
            )
        # Of several bases (criss-cross merges) the newest is taken.
        base = max(bases, key=lambda id_: self.store.commit(id_).time) if bases else None
        plan = Plan(ours, theirs, base, revision)
        if theirs in bases or ours in bases:
            return plan
        return plan_merge(
            self.store, plan, self.entries(ours), self.entries(theirs), self.entries(base)
        )

    def merge(
        self,
        plan: "Plan",
        decisions: "Decisions",
        *,
        author: Author,
        message: str | None = None,
        rules: "Sequence[Rule]" = (),
        default: str | None = None,
        wait: bool = False,
        progress: Progress = SILENT,
    ) -> MergeAnswer:
        """Carry a plan out; conflicts that are left mean that nothing was written.

        ``wait``: write the files and leave the commit to the user.
        """
        from theta.merge import apply_merge, write_recipe

        self._check_not_merging()
        if is_ancestor(self.store, plan.theirs, plan.ours):
            return MergeAnswer("up to date", plan.ours)
        if plan.base == plan.ours:
            return self._fast_forward(plan, progress)

        def work(session: Session) -> MergeAnswer:
            merged = apply_merge(self.store, session, plan, decisions, progress)
            if merged.conflicts:
                raise _Left(merged)
            session.flush()
            recipe = write_recipe(plan, merged, rules, default)
            written = self._write_merge(plan, merged.entries, progress)
            if wait:
                note = pending.pending(plan.ours, plan.theirs, plan.label, recipe)
                pending.save(self.private / MERGE_FILE, note)
                return MergeAnswer(
                    "waiting", None, (), tuple(merged.resolved), session.stored_bytes, written
                )
            text = message or f"Merge {plan.label}"
            commit = self._commit_merge(session, plan, merged, recipe, text, author)
            return MergeAnswer(
                "merged", commit, (), tuple(merged.resolved), session.stored_bytes, written
            )

        try:
            return self._retried(work)
        except _Left as left:
            found = tuple(left.merged.conflicts)
            return MergeAnswer("conflicts", None, found, tuple(left.merged.resolved))

    def _fast_forward(self, plan: "Plan", progress: Progress) -> MergeAnswer:
        head = self.head
        written = self._write_merge(plan, self.entries(plan.theirs), progress)
        change = RefChange(head.branch or HEAD, plan.ours, plan.theirs)
        with self.store.session() as session:
            session.publish(
                Operation(0, 0, "merge", f"{plan.label} (fast-forward)", (change,), wrote=True)
            )
        return MergeAnswer("fast-forward", plan.theirs, written=written)

    def _write_merge(self, plan: "Plan", entries: Entries, progress: Progress) -> tuple[str, ...]:
        head = self.entries(plan.ours)
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        written = self.workspace.move(head, present, entries, progress=progress)
        return tuple(written)

    def _commit_merge(
        self,
        session: Session,
        plan: "Plan",
        merged: "Merged",
        recipe: str,
        message: str,
        author: Author,
    ) -> CommitId:
        def put(tree: Tree) -> TreeId:
            return TreeId(session.put_record(tree))

        tree = build_tree(merged.entries, put)
        kept: BlobId = session.put_bytes(recipe.encode())
        record = commit_record(tree, (plan.ours, plan.theirs), message, author, Details(), kept)
        id_ = CommitId(session.put_record(record))
        change = RefChange(self.head.branch or HEAD, plan.ours, id_)
        operation = Operation(0, 0, "merge", plan.label, (change,), wrote=True)
        session.publish(operation, commits=[id_])
        return id_

    def abort_merge(self, *, progress: Progress = SILENT) -> tuple[str, ...]:
        """Forget the merge that waits and put HEAD's files back; undo brings the others again."""
        waiting = pending.load(self.private / MERGE_FILE)
        if waiting is None:
            raise NotFound("no merge is waiting; nothing was changed", hint="theta status")
        entries = self.entries(waiting.head)

        def work(session: Session) -> tuple[str, ...]:
            present = self.workspace.present(entries, session, storing=True)
            saved = self._save(session, present.entries)
            written = self.workspace.move(present.entries, present, entries, progress=progress)
            operation = Operation(0, 0, "merge --abort", waiting.label, (), saved=saved, wrote=True)
            session.publish(operation, commits=[saved])
            return tuple(written)

        written = self._retried(work)
        pending.drop(self.private / MERGE_FILE)
        return written
