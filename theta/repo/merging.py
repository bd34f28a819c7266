"""``merge``: plan, decide, apply, and either commit or wait; and the same again from a recipe.

Owns its steps. Must not know the terminal: whoever is asked about conflicts gives rules.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from theta.diff import build_tree
from theta.history import bases_of, is_ancestor
from theta.merge import pending
from theta.progress import SILENT, Progress
from theta.repo.committing import commit_record
from theta.repo.looking import Looking
from theta.repo.opened import MERGE_FILE
from theta.repo.statistics import put_sums, ref_of, statistics_of
from theta.repo.values import Author, Details, MergeAnswer, check_author, listed
from theta.workspace import Entries
from theta_store.errors import ExpiredCommit, NotFound, UsageError
from theta_store.ids import BlobId, CommitId, RecordId, TreeId
from theta_store.store import BRANCHES, HEAD, Operation, RefChange, Session

if TYPE_CHECKING:
    from theta.merge import (
        Alignment,
        Conflict,
        Decided,
        Decision,
        DtypeRule,
        Estimate,
        Finished,
        Merged,
        Method,
        Plan,
        Preview,
        Rule,
    )
    from theta.workspace.drafts import Drafts


FINISHED_FILE = "merge-finished"


class _Left(Exception):
    """Conflicts are left; nothing was written."""

    def __init__(self, merged: "Merged") -> None:
        super().__init__()
        self.merged = merged


class Replayed(msgspec.Struct, frozen=True):
    """A merge made again: its commit's tree, the tree that the recipe gives now, or conflicts.

    ``exact``: every strategy in it promises the same bits on every machine. Where one does not,
    ``apart`` is the largest difference of an element, over the largest value of its tensor; None
    where more than numbers differ.
    """

    commit: CommitId
    expected: TreeId
    made: TreeId | None
    conflicts: "tuple[Conflict, ...]" = ()
    exact: bool = True
    apart: float | None = None

    @property
    def near(self) -> bool:
        """Whether it differs by no more than linear algebra does from machine to machine."""
        from theta.merge import NEAR

        return self.apart is not None and self.apart <= NEAR

    @property
    def same(self) -> bool:
        """Whether the recipe gives the tree that the commit has."""
        return self.made == self.expected


class Merging(Looking):
    """The verbs of this file."""

    def plan_merge(
        self, *revisions: str, allow_unrelated: bool = False, align: "Alignment | None" = None
    ) -> "Plan":
        """Return what ids alone settle and what is open; no tensor is read.

        Where history has several merge bases, these are merged first, which reads tensors; so does
        ``align``, by which the models of the others are permuted to match ours. A revision that
        another one, or HEAD, descends from is left out.
        """
        from theta.merge import Plan

        head = self.head
        if head.commit is None:
            raise UsageError("there is no commit to merge into", hint="theta commit -am MESSAGE")
        named = self._tips(revisions, head.commit)
        branch = (head.branch or HEAD).removeprefix(BRANCHES)
        sides = (head.commit, *named)
        bases = bases_of(self.store, [[side] for side in sides])
        if not bases and not allow_unrelated:
            raise UsageError(
                f"{_words(revisions)} {_share(revisions)} no history with HEAD",
                hint=f"theta merge --allow-unrelated {' '.join(revisions)}",
            )
        plan = Plan(sides, (branch, *named.values()), bases, _words(revisions), align=align)
        plan.statistics |= statistics_of(self.store, sides)
        if not named or plan.is_fast_forward:
            return plan
        return self._filled(plan)

    def _tips(self, revisions: Sequence[str], head: CommitId) -> dict[CommitId, str]:
        """Return the commits to merge, and what they are called, without those that others have."""
        found: dict[CommitId, str] = {}
        for revision in revisions:
            found.setdefault(self.resolve(revision), revision)
        return {
            id_: name
            for id_, name in found.items()
            if not any(
                other != id_ and is_ancestor(self.store, id_, other) for other in (head, *found)
            )
            and id_ != head
        }

    def _filled(self, plan: "Plan", session: Session | None = None) -> "Plan":
        """Return the plan with its files; a session is opened where tensors are to be stored."""
        from theta.merge import aligned_sides, base_entries, open_changes, plan_merge

        if plan.stores and session is None:
            return self._retried(lambda opened: self._filled(plan, opened))
        empty = replace(plan, entries={}, checkpoints=[], conflicts=[], resolved=[], aligned={})
        base = base_entries(self.store, session, plan.bases)
        sides: Sequence[Entries] = [self.entries(side) for side in plan.sides]
        if plan.align is not None:
            assert session is not None, "permuted models are stored"
            sides = aligned_sides(self.store, session, empty, sides, base)
            session.flush()
        filled = plan_merge(self.store, empty, sides, base)
        return open_changes(self.store, filled, sides, base) if plan.scaled else filled

    def merge_method(
        self,
        rules: str | Sequence[str] = (),
        default: str | None = None,
        *,
        seed: int = 0,
        exact: bool | None = None,
        nonfinite: bool = False,
        dtype: "DtypeRule | None" = None,
    ) -> "Method":
        """Return how to merge: ``.thetaattributes``, then ``rules``, of which the last match wins.

        ``default`` holds where no rule matches, else ``merge.default`` of the configuration;
        ``exact`` None means ``merge.exact`` of it. What no strategy takes is a `UsageError`.
        """
        from theta.merge import Method, parse_choice, parse_rule

        own = tuple(parse_rule(line) for line in listed(rules))
        configured = self.config.text("merge.default")
        choice = None
        if default:
            choice = parse_choice(default, f"-s {default!r}")
        elif configured:
            choice = parse_choice(configured, f"config merge.default = {configured!r}")
        if exact is None:
            exact = self.config.text("merge.exact") != "false"
        return Method((*self._attributes(), *own), choice, seed, exact, nonfinite, dtype)

    def _attributes(self) -> "tuple[Rule, ...]":
        """Return the rules of ``.thetaattributes``: of the file in the workspace, else HEAD's."""
        from theta.merge import ATTRIBUTES_FILE, parse_attributes

        path = self.root / ATTRIBUTES_FILE
        if path.is_file():
            return parse_attributes(path.read_text(encoding="utf-8", errors="replace"))
        entry = self.entries(self.head.commit).get(ATTRIBUTES_FILE)
        if entry is None or entry.kind != "blob":
            return ()
        text = self.store.read_bytes(BlobId(entry.id)).decode(errors="replace")
        return parse_attributes(text)

    def decide_merge(self, plan: "Plan", method: "Method", *, look: bool = True) -> "Decided":
        """Return which strategy each conflict gets, and the conflicts that are left.

        Without ``look`` no value is read, so that no exact merge is found.
        """
        from theta.merge import decide

        return decide(self.store, plan, method, look=look)

    def estimate_merge(self, decided: "Decided") -> "Estimate":
        """Return what the decisions of a merge will cost; no value is read."""
        from theta.merge import estimate_of

        return estimate_of(self.store, decided)

    def preview_merge(
        self, plan: "Plan", decision: "Decision", method: "Method"
    ) -> "Preview | None":
        """Return what a decision would make of a parameter; None where there are no numbers."""
        from theta.merge import previewed

        return previewed(self.store, plan, decision, method)

    def merge(
        self,
        plan: "Plan",
        method: "Method",
        *,
        author: Author,
        message: str | None = None,
        wait: bool = False,
        progress: Progress = SILENT,
    ) -> MergeAnswer:
        """Carry a plan out; conflicts that are left mean that nothing was written.

        ``wait``: write the files and leave the commit to the user.
        """
        from theta.merge import Finished, write_recipe

        check_author(author)
        self._check_not_merging()
        if not plan.others:
            return MergeAnswer("up to date", plan.ours)
        if plan.is_fast_forward:
            return self._fast_forward(plan, progress)

        def work(session: Session) -> MergeAnswer:
            # gc may have taken what was stored for the plan.
            now = self._filled(plan, session) if plan.stores else plan
            finished = Finished(self.store, self.private / FINISHED_FILE)
            if not finished.goes_on:
                self._check_unsaved(now)
            models = [part.path for part in now.checkpoints]
            with self.workspace.lent(models), self.workspace.drafts() as drafts:
                merged = self._applied(session, now, method, progress, finished, drafts)
                if merged.conflicts:
                    raise _Left(merged)
                session.flush()
                recipe = write_recipe(now, merged, method)
                written = self._write_merge(now, merged.entries, progress, drafts)
            commit = None
            if wait:
                note = pending.pending(now.ours, now.others, now.label, recipe)
                pending.save(self.private / MERGE_FILE, note)
            else:
                text = message or f"Merge {now.label}"
                commit = self._commit_merge(session, now, merged, recipe, text, author)
            state = "waiting" if wait else "merged"
            finished.forget()
            return MergeAnswer(
                state,
                commit,
                resolved=tuple(merged.resolved),
                stored_bytes=session.stored_bytes,
                written=written,
                notices=merged.notices,
                reused=merged.reused,
            )

        try:
            return self._retried(work)
        except _Left as left:
            found = tuple(left.merged.conflicts)
            return MergeAnswer("conflicts", None, found, tuple(left.merged.resolved))

    def _check_unsaved(self, plan: "Plan") -> None:
        """Refuse to compute what could not be written.

        A try that was interrupted may have written its files already: that is no reason.
        """
        head = self.entries(plan.ours)
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        will = {part.path for part in (*plan.checkpoints, *plan.documents)}
        gone = {path: entry for path, entry in head.items() if path in will}
        rest = {path: entry for path, entry in head.items() if path not in will}
        if any(present.entries.get(path, entry) != entry for path, entry in gone.items()):
            self.workspace.plan_move(head, present, rest)

    def _applied(
        self,
        session: Session,
        plan: "Plan",
        method: "Method",
        progress: Progress,
        finished: "Finished | None" = None,
        drafts: "Drafts | None" = None,
    ) -> "Merged":
        from theta.merge import apply_merge

        decided = self.decide_merge(plan, method)
        return apply_merge(self.store, session, plan, decided, method, progress, finished, drafts)

    def _fast_forward(self, plan: "Plan", progress: Progress) -> MergeAnswer:
        head = self.head
        (theirs,) = plan.others
        written = self._write_merge(plan, self.entries(theirs), progress)
        change = RefChange(head.branch or HEAD, plan.ours, theirs)
        with self.store.session() as session:
            session.publish(
                Operation(0, 0, "merge", f"{plan.label} (fast-forward)", (change,), wrote=True)
            )
        return MergeAnswer("fast-forward", theirs, written=written)

    def _write_merge(
        self, plan: "Plan", entries: Entries, progress: Progress, drafts: "Drafts | None" = None
    ) -> tuple[str, ...]:
        head = self.entries(plan.ours)
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        written = self.workspace.move(head, present, entries, drafts=drafts, progress=progress)
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
        tree = tree_of(session, merged)
        kept: BlobId = session.put_bytes(recipe.encode())
        record = commit_record(tree, plan.sides, message, author, Details(), kept)
        id_ = CommitId(session.put_record(record))
        kinds = {kind for made in merged.decisions for kind in made.strategy.needs.statistics}
        read = {str(kind): plan.statistics.get(kind, ()) for kind in kinds}
        known = put_sums(self.store, session, read)
        change = RefChange(self.head.branch or HEAD, plan.ours, id_)
        changes = (
            change,
            *(RefChange(ref_of(kind, id_), None, new) for kind, new in known.items()),
        )
        operation = Operation(0, 0, "merge", plan.label, changes, wrote=True)
        session.publish(operation, commits=[id_, *known.values()])
        return id_

    def replay_merge(self, revision: str, *, progress: Progress = SILENT) -> Replayed:
        """Make a merge again from its recipe and compare; nothing that refs reach is written."""
        from theta.merge import Plan, farthest

        recipe = self.recipe(revision)
        id_ = self.resolve(revision)
        sides, bases = (tuple(map(_commit, ids)) for ids in (recipe.parents, recipe.bases))
        plan = Plan(sides, recipe.labels, bases, scaled=recipe.scaled, align=recipe.alignment)
        plan.statistics |= recipe.statistics
        exact = all(group.exact for group in recipe.groups)

        def work(session: Session) -> Replayed:
            merged = self._applied(session, self._filled(plan, session), recipe.method, progress)
            made = None if merged.conflicts else tree_of(session, merged)
            expected = self.store.commit(id_).tree
            apart = None
            if made not in (None, expected) and not exact:
                session.flush()
                apart = farthest(self.store, merged.entries, self.entries(id_))
            return Replayed(id_, expected, made, tuple(merged.conflicts), exact, apart)

        return self._retried(work)

    def abort_merge(self, *, progress: Progress = SILENT) -> tuple[str, ...]:
        """Forget the merge that waits and put HEAD's files back; undo brings the others again."""
        waiting = pending.load(self.private / MERGE_FILE)
        if waiting is None:
            raise NotFound("no merge is waiting; nothing was changed", hint="theta status")
        entries = self.entries(waiting.head)
        brought = self._brought(waiting.parents)

        def work(session: Session) -> tuple[str, ...]:
            present = self.workspace.present(entries, session, storing=True)
            saved = self._save(session, present.entries)
            # A file that neither HEAD nor the merge knows is the user's own, tracked or not.
            merged = {p: e for p, e in present.entries.items() if p in entries or p in brought}
            written = self.workspace.move(merged, present, entries, progress=progress)
            operation = Operation(0, 0, "merge --abort", waiting.label, (), saved=saved, wrote=True)
            session.publish(operation, commits=[saved])
            return tuple(written)

        written = self._retried(work)
        pending.drop(self.private / MERGE_FILE)
        return written

    def _brought(self, others: Sequence[CommitId]) -> set[str]:
        """Return the paths that a merge of these commits may have written, shards included."""
        found: set[str] = set()
        for other in others:
            try:
                entries = self.entries(other)
            except ExpiredCommit:
                continue
            found |= {*entries, *self._parts(entries)}
        return found


def tree_of(session: Session, merged: "Merged") -> TreeId:
    """Put the folders of a merge's files and return the outermost."""
    return build_tree(merged.entries, lambda tree: TreeId(session.put_record(tree)))


def _commit(text: str) -> CommitId:
    return CommitId(RecordId(bytes.fromhex(text)))


def _words(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _share(names: Sequence[str]) -> str:
    return "shares" if len(names) == 1 else "share"
