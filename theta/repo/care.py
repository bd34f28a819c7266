"""Verbs that look after the store: export, fsck, gc, du.

Owns their steps. Must not know the terminal.
"""

from collections.abc import Sequence
from pathlib import Path

from theta.config import seconds
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.workspace import Workspace
from theta_store.errors import (
    UnsavedChanges,
)
from theta_store.ids import CommitId, short
from theta_store.records import TreeEntry
from theta_store.store import (
    GcReport,
    Operation,
    Problem,
    Sizes,
)


class Care(Opened):
    """The verbs of this file."""

    def export(
        self, revision: str, target: Path, *, path: str | None = None, progress: Progress = SILENT
    ) -> list[str]:
        """Write a commit's files, or one of them, byte for byte to another place."""
        commit = self.resolve(revision)
        outside = Workspace(target, self.private, self.store)
        if path is None:
            entries = self.entries(commit)
            _check_empty(target)
            return outside.export(entries, progress=progress)
        name, entry = self.entry(commit, path)
        if target.exists() and not target.is_dir():
            raise UnsavedChanges(f"{target} exists; nothing was written")
        if target.is_dir() or len(self.workspace.parts(name, entry)) > 1:
            return outside.export({Path(name).name: entry}, progress=progress)
        renamed = TreeEntry(target.name, entry.kind, entry.id, entry.executable)
        outside = Workspace(target.parent, self.private, self.store)
        return outside.export({target.name: renamed}, progress=progress)

    def fsck(self, *, progress: Progress = SILENT) -> list[Problem]:
        """Verify the whole store; return what is broken and whom it hurts."""
        sizes = self.store.sizes()
        progress.begin("checking", sizes.logical_bytes)
        return self.store.check(progress=progress.advance)

    def gc(self, *, now: bool = False, dry_run: bool = False) -> GcReport:
        """Remove what nothing reaches; the operation log keeps what is younger than gc.undo."""
        kept = 0.0 if now else seconds(self.config.text("gc.undo") or "7d")
        collector = self.store.collector(undo_seconds=kept)
        if dry_run:
            return collector.forecast()
        self.store.check_writable()
        return collector.collect()

    def forget(self, revisions: Sequence[str]) -> list[CommitId]:
        """Give up the files of commits; their records stay in the log, undo revives them until gc.

        HEAD and the tips of branches and tags are `UnsavedChanges`: move or delete those first.
        """
        commits = list(dict.fromkeys(self.resolve(revision) for revision in revisions))
        tips = {*self.store.refs.all().values(), self.head.commit}
        held = [commit for commit in commits if commit in tips]
        if held:
            raise UnsavedChanges(
                f"{short(held[0])} is the tip of a branch or tag; nothing was forgotten",
                hint="theta branch -d, theta tag -d",
            )
        new = [commit for commit in commits if not self.store.is_expired(commit)]
        if new:
            summary = " ".join(short(commit) for commit in new)
            with self.store.session() as session:
                session.publish(Operation(0, 0, "forget", summary, (), expired=tuple(new)))
        return new

    def sizes(self) -> Sizes:
        """Return the bytes of the store."""
        return self.store.sizes()


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnsavedChanges(f"{target} is not an empty folder; nothing was written")
