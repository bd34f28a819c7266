"""``cherry-pick`` and ``revert``: the change of one commit, again or taken back.

Owns their steps. Must not know the terminal.

Both are merges of HEAD and one side: a pick has the commit as the side and its parent as the base,
a revert has them the other way round. What ids settle is taken exactly. What both changed is
ours + scale · (side − base), the formula of ``task-arithmetic`` with the weights 1 and scale; with
a scale other than 1 that holds for every number that the commit changed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from theta.progress import SILENT, Progress
from theta.repo.committing import commit_record
from theta.repo.merging import Merging, tree_of
from theta.repo.values import Author, Details, MergeAnswer
from theta_store.errors import NothingToCommit, UsageError
from theta_store.ids import CommitId, hex_id, short
from theta_store.records import Commit
from theta_store.store import BRANCHES, HEAD, Operation, RefChange, Session

if TYPE_CHECKING:
    from theta.merge import Method, Plan


class Picking(Merging):
    """The verbs of this file."""

    def cherry_pick(
        self,
        revision: str,
        *,
        author: Author,
        scale: float = 1.0,
        message: str | None = None,
        mainline: int | None = None,
        rules: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> MergeAnswer:
        """Commit the change of another commit on top of HEAD, ``scale`` times as large.

        ``mainline`` is the parent, from 1, that a merge is a change of. ``rules`` settle what is
        left, as in a merge; conflicts that remain mean that nothing was written.
        """
        plan = self.plan_pick(revision, scale=scale, mainline=mainline)
        id_ = plan.others[0]
        text = message or f"{self.store.commit(id_).message}\n\n{_trailer(id_, scale)}"
        return self._pick("cherry-pick", plan, scale, rules, text, author, progress)

    def revert(
        self,
        revision: str,
        *,
        author: Author,
        scale: float = 1.0,
        message: str | None = None,
        mainline: int | None = None,
        rules: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> MergeAnswer:
        """Commit the opposite of a commit's change on top of HEAD, ``scale`` times as large.

        For ``mainline`` and ``rules`` see `cherry_pick`.
        """
        plan = self.plan_pick(revision, back=True, scale=scale, mainline=mainline)
        (id_,) = plan.bases
        times = "" if scale == 1 else f", scaled by {scale!r}"
        subject = self.store.commit(id_).subject
        text = message or f'Revert "{subject}"\n\nThis reverts commit {hex_id(id_)}{times}.'
        return self._pick("revert", plan, scale, rules, text, author, progress)

    def plan_pick(
        self,
        revision: str,
        *,
        back: bool = False,
        scale: float = 1.0,
        mainline: int | None = None,
    ) -> "Plan":
        """Return what ids alone settle, and what is open; ``back``: of a revert."""
        from theta.merge import Plan

        if not math.isfinite(scale) or scale == 0:
            raise UsageError(f"--scale {scale}: a finite number other than 0 is expected")
        head = self.head
        if head.commit is None:
            raise UsageError("there is no commit yet", hint="theta commit -m MESSAGE")
        id_ = self.resolve(revision)
        parent = self._mainline(id_, revision, "revert" if back else "cherry-pick", mainline)
        side, base = (parent, id_) if back else (id_, parent)
        branch = (head.branch or HEAD).removeprefix(BRANCHES)
        label = f"{revision}^" if back else revision
        plan = Plan((head.commit, side), (branch, label), (base,), revision, scaled=scale != 1)
        return self._filled(plan)

    def _mainline(self, id_: CommitId, revision: str, verb: str, mainline: int | None) -> CommitId:
        """Return the parent that a commit is a change of."""
        parents = self.store.commit(id_).parents
        if not parents:
            raise UsageError(f"{short(id_)} is a first commit: there is nothing it is a change of")
        if mainline is None and len(parents) > 1:
            raise UsageError(
                f"{short(id_)} is a merge of {len(parents)}: which parent is it a change of?",
                hint=f"theta {verb} --mainline=1 {revision}",
            )
        if mainline is not None and not 1 <= mainline <= len(parents):
            raise UsageError(f"--mainline {mainline}: {short(id_)} has {len(parents)} parents")
        return parents[(mainline or 1) - 1]

    def pick_method(self, scale: float = 1.0, rules: Sequence[str] = ()) -> "Method":
        """Return how a pick settles what is open; ``.thetaattributes`` speak of merges alone."""
        from theta.merge import Method, parse_choice, parse_rule

        choice = parse_choice(f"task-arithmetic weight=1,{float(scale)!r}", "--scale")
        # Rows that are taken exactly are those of a change of its own size.
        return Method(tuple(map(parse_rule, rules)), choice, exact=scale == 1)

    def _pick(
        self,
        verb: str,
        plan: "Plan",
        scale: float,
        rules: Sequence[str],
        message: str,
        author: Author,
        progress: Progress,
    ) -> MergeAnswer:
        from theta.merge import write_recipe

        self._check_not_merging()
        method = self.pick_method(scale, rules)

        def work(session: Session) -> MergeAnswer:
            merged = self._applied(session, plan, method, progress)
            resolved = tuple(merged.resolved)
            if merged.conflicts:
                return MergeAnswer("conflicts", None, tuple(merged.conflicts), resolved)
            tree = tree_of(session, merged)
            if tree == self.store.commit(plan.ours).tree:
                raise NothingToCommit(f"nothing to commit: {verb} {plan.label} changes nothing")
            session.flush()
            recipe = session.put_bytes(write_recipe(plan, merged, method).encode())
            record = commit_record(tree, (plan.ours,), message, author, Details(), recipe)
            written = self._write_merge(plan, merged.entries, progress)
            id_ = self._put_picked(session, verb, plan, record)
            notices = (*merged.notices, *_whole(plan))
            stored = session.stored_bytes
            return MergeAnswer("merged", id_, (), resolved, stored, written, notices)

        return self._retried(work)

    def _put_picked(self, session: Session, verb: str, plan: "Plan", record: Commit) -> CommitId:
        id_ = CommitId(session.put_record(record))
        change = RefChange(self.head.branch or HEAD, plan.ours, id_)
        operation = Operation(0, 0, verb, record.subject, (change,), wrote=True)
        session.publish(operation, commits=[id_])
        return id_


def _trailer(id_: CommitId, scale: float) -> str:
    times = "" if scale == 1 else f", scaled by {scale!r}"
    return f"(cherry picked from commit {hex_id(id_)}{times})"


def _whole(plan: "Plan") -> list[str]:
    """Say what a scaled change has that has no size, and was taken as it is."""
    if not plan.scaled:
        return []
    counts = Counter(r.path for r in plan.resolved if r.how == plan.who(1))
    return [
        f"{path}: {n} of its changes cannot be scaled; taken whole" for path, n in counts.items()
    ]
