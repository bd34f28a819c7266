"""Verbs that look after the store: fsck, gc, forget, du.

Owns their steps. Must not know the terminal.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from theta.config import seconds
from theta.history import ancestors, bases_of, merge_bases_among
from theta.keep import Keep
from theta.merge import pending
from theta.progress import SILENT, Progress
from theta.repo.opened import MERGE_FILE, Opened
from theta.repo.values import Collected, listed
from theta_store.errors import (
    ExpiredCommit,
    UnsavedChanges,
    UsageError,
)
from theta_store.ids import CommitId, short
from theta_store.store import (
    BRANCHES,
    HEAD,
    Operation,
    Sizes,
)

if TYPE_CHECKING:
    from theta_store.store import By, GcReport, Problem, Usage


class Care(Opened):
    """The verbs of this file."""

    def fsck(self, *, progress: Progress = SILENT) -> "list[Problem]":
        """Verify the whole store; return what is broken and whom it hurts."""
        return self.store.check(
            begin=lambda total: progress.begin("checking", total), progress=progress.advance
        )

    def gc(
        self, *, keep: Keep | None = None, now: bool = False, dry_run: bool = False
    ) -> Collected:
        """Remove what nothing reaches; the operation log keeps what is younger than gc.undo.

        With ``keep``, the files of the branches' other commits are given up first, see `expirable`.
        """
        expired = () if keep is None else self.expirable(keep)
        kept = 0.0 if now else seconds(self.config.text("gc.undo") or "7d")
        collector = self.store.collector(undo_seconds=kept)
        if dry_run:
            return _collected(collector.forecast(expired=set(expired)), expired)
        self.store.check_writable()
        if expired:
            self._expire("gc", f"{keep} ({len(expired)} commits)", expired)
        return _collected(collector.collect(), expired)

    def expirable(self, keep: Keep) -> tuple[CommitId, ...]:
        """Return the commits of branches that ``keep`` does not keep and nothing else needs.

        Each branch's history is read for itself; what is kept for one is kept. Needed are HEAD, the
        tips of branches and tags, the merge bases of any two of HEAD and the branches, and what a
        waiting merge joins. A metric that no commit has is `NotFound`.
        """
        given_up, directions = self.store.expired(), self.config.directions()
        refs, head = self.store.refs.all(), self.head.commit
        tips = list(dict.fromkeys(c for name, c in refs.items() if name.startswith(BRANCHES)))
        ends = tips if head is None else [*tips, head]
        needed = {*refs.values(), *ends, *self._merging()}
        everything = list(ancestors(self.store, ends))
        if everything:
            numbers = (item for _, commit in everything for item in commit.metrics.items())
            keep.check_metrics({name for name, value in numbers if value == value})
        needed |= merge_bases_among(everything, ends)
        for tip in tips:
            history = list(ancestors(self.store, [tip]))
            needed |= keep.kept(history, directions=directions, given_up=given_up)
        all_ = ancestors(self.store, tips)
        return tuple(id_ for id_, _ in all_ if id_ not in needed and id_ not in given_up)

    def _merging(self) -> set[CommitId]:
        """Return the commits of a merge that waits, and their bases."""
        waiting = pending.load(self.private / MERGE_FILE)
        if waiting is None:
            return set()
        sides = (waiting.head, *waiting.parents)
        return {*sides, *bases_of(self.store, [[side] for side in sides])}

    def forget(self, revisions: str | Sequence[str], *, dry_run: bool = False) -> list[CommitId]:
        """Give up the files of commits; their records stay in the log, undo revives them until gc.

        HEAD and the tips of branches and tags are `UnsavedChanges`: move or delete those first.
        """
        commits = list(dict.fromkeys(self.resolve(revision) for revision in listed(revisions)))
        tips = {*self.store.refs.all().values(), self.head.commit}
        held = [commit for commit in commits if commit in tips]
        if held:
            raise UnsavedChanges(
                f"{short(held[0])} is the tip of a branch or tag; nothing was forgotten",
                hint="theta branch -d, theta tag -d",
            )
        new = [commit for commit in commits if not self.store.is_expired(commit)]
        if new and not dry_run:
            self._expire("forget", " ".join(short(commit) for commit in new), new)
        return new

    def _expire(self, verb: str, summary: str, commits: Sequence[CommitId]) -> None:
        with self.store.session() as session:
            session.publish(Operation(0, 0, verb, summary, (), expired=tuple(commits)))

    def sizes(self) -> Sizes:
        """Return the bytes of the store."""
        return self.store.sizes()

    def usage(self, by: "By", revision: str | None = None) -> "Usage":
        """Return who takes the stored bytes: branches, commits, files or parameters.

        ``revision`` restricts commits to those of its history (``A..B``: what B has and A lacks),
        files and parameters to those of one commit; bytes of any other commit count as shared.
        """
        if by == "commit":
            return self._usage_of_commits(revision)
        if revision is None:
            return self.store.usage(by)
        if by == "branch":
            raise UsageError("a branch's bytes are those of its whole history", hint="theta du")
        commit = self.resolve(revision)
        if self.store.is_expired(commit):
            raise ExpiredCommit(
                f"the files of {short(commit)} were given up; nothing is kept for it",
                hint="theta du --by commit",
            )
        return self.store.usage(by, commit)

    def _usage_of_commits(self, revision: str | None) -> "Usage":
        left, dots, right = ("", "", "") if revision is None else revision.partition("..")
        head = self.head.commit
        tips = {*self.store.refs.all().values(), *([] if head is None else [head])}
        if revision is not None:
            tips = {self.resolve((right or HEAD) if dots else revision)}
        without = [self.resolve(left or HEAD)] if dots else []
        found = self.store.usage("commit")
        rows = {row.owner.commit: row for row in found.rows}
        wanted = [id_ for id_, _ in ancestors(self.store, tips, without=without)]
        return replace(found, rows=tuple(rows[id_] for id_ in wanted if id_ in rows))


def _collected(report: "GcReport", expired: tuple[CommitId, ...]) -> Collected:
    return Collected(
        report.records,
        report.chunks,
        report.stored_bytes,
        report.disk_bytes,
        report.base_bytes,
        expired,
        report.idle_bytes,
        report.room_bytes,
    )
