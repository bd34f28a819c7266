"""``add`` and ``rm``: what the workspace looks after.

Owns their steps. Must not store anything.
"""

from collections.abc import Sequence
from pathlib import Path

from theta.repo.opened import Opened
from theta.repo.values import listed
from theta.workspace import Entries
from theta.workspace import tracking as tracked
from theta_store.errors import (
    UnknownFile,
    UnsavedChanges,
)


class Tracking(Opened):
    """The verbs of this file."""

    def add(self, paths: Sequence[str] | str, *, cwd: Path | None = None) -> list[str]:
        """Start tracking files, folders and globs; return the files that are tracked by it now."""
        self.store.check_writable()
        base = cwd or self.root
        wanted = [self.workspace.relative(base, path) for path in listed(paths)]
        self.workspace.set_tracking(tracked.added(self.workspace.tracking, self.root, wanted))
        found = self.workspace.tracked_paths(self.entries(self.head.commit))
        return [path for path in found if any(tracked.covers(w, path) for w in wanted)]

    def remove(
        self,
        paths: Sequence[str] | str,
        *,
        cwd: Path | None = None,
        delete: bool = False,
        dry_run: bool = False,
    ) -> list[str]:
        """Stop tracking files; they stay on disk unless ``delete``, which HEAD must hold."""
        self.store.check_writable()
        base = cwd or self.root
        wanted = [self.workspace.relative(base, path) for path in listed(paths)]
        head = self.entries(self.head.commit)
        known = {p for path, e in head.items() for p in self.workspace.parts(path, e)}
        known |= set(self.workspace.tracked_paths(head))
        gone = sorted(p for p in known if any(tracked.covers(w, p) for w in wanted))
        if not gone:
            raise UnknownFile(f"{', '.join(wanted)}: not tracked; nothing was changed")
        if delete:
            self._check_saved(head, gone)
        if dry_run:
            return gone
        if delete:
            for path in gone:
                (self.root / path).unlink(missing_ok=True)
        self.workspace.set_tracking(tracked.removed(self.workspace.tracking, [*wanted, *gone]))
        return gone

    def _check_saved(self, head: Entries, paths: Sequence[str]) -> None:
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        saved = {
            part
            for path, entry in present.entries.items()
            if head.get(path) == entry
            for part in self.workspace.parts_present(path)
        }
        unsaved = [path for path in paths if path not in saved and (self.root / path).is_file()]
        if unsaved:
            raise UnsavedChanges(
                f"{unsaved[0]} holds what no commit has; nothing was deleted",
                hint="theta commit -am MESSAGE, or delete it yourself",
            )
