"""What a commit will hold: the tracked files as they are, or a folder under another name.

Owns where a commit goes and which files it gets. Must not write records of commits, nor move refs.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.diff import overlaid
from theta.progress import Progress
from theta.repo.opened import Opened
from theta.repo.values import Details
from theta.revision import check_ref_name
from theta.workspace import Entries, Present
from theta.workspace import tracking as tracked
from theta_store.errors import UnknownFile, UsageError
from theta_store.ids import CommitId
from theta_store.store import BRANCHES, HEAD

if TYPE_CHECKING:
    from theta_store.store import Session


class Place(msgspec.Struct, frozen=True):
    """Where a commit goes: a ref, where that is now, and the commit that the new one follows."""

    ref: str
    now: CommitId | None
    tip: CommitId | None
    is_head: bool

    @property
    def label(self) -> str:
        """What people call the commit that the new one follows."""
        return "HEAD" if self.is_head or self.now is None else self.branch

    @property
    def branch(self) -> str:
        """The branch's short name; HEAD where it is detached."""
        return self.ref.removeprefix(BRANCHES)


class Content(msgspec.Struct, frozen=True):
    """The files of a commit to be, and what was read for them; ``named`` came from elsewhere."""

    entries: Entries
    read: Present
    named: frozenset[str] = frozenset()


Read = Callable[["Session", Place, Entries], Content]


class Contents(Opened):
    """What `Committing` asks."""

    def _place(self, branch: str | None) -> Place:
        head = self.head
        if branch is None or BRANCHES + branch == head.branch:
            return Place(head.branch or HEAD, head.commit, head.commit, is_head=True)
        check_ref_name(branch)
        now = self.store.refs.get(BRANCHES + branch)
        return Place(BRANCHES + branch, now, now or head.commit, is_head=False)

    def _reader(
        self, paths: Sequence[str], base: Path, details: Details, progress: Progress
    ) -> Read:
        if details.as_name is None:
            wanted = [self.workspace.relative(base, path) for path in paths]
            return lambda s, place, before: self._tracked(
                s, place, before, wanted, details, progress
            )
        if len(paths) != 1:
            raise UsageError(f"--as takes one file or folder, not {len(paths)}")
        source = Path(os.path.normpath(base / paths[0]))
        name = self.workspace.relative(base, details.as_name)
        if name == ".":
            raise UsageError("the whole workspace cannot be replaced", hint="--as NAME")
        return lambda s, _, before: self._named(s, before, source, name, progress)

    def _tracked(
        self,
        session: "Session",
        place: Place,
        before: Entries,
        wanted: Sequence[str],
        details: Details,
        progress: Progress,
    ) -> Content:
        """Return what is there, and what was never checked out."""
        head = before if place.is_head else self.entries(self.head.commit)
        present = self.workspace.present(
            head, session, storing=True, strict=True, rehash=details.rehash, progress=progress
        )
        never = set(self.workspace.tracking.absent) | (before.keys() - head.keys())
        entries = overlaid({p: e for p, e in before.items() if p in never}, present.entries)
        if not wanted:
            return Content(entries, present)
        chosen = {p: e for p, e in entries.items() if _covered(p, wanted)}
        rest = {p: e for p, e in before.items() if not _covered(p, wanted)}
        if not chosen and rest == dict(before):
            raise UnknownFile(f"{', '.join(wanted)}: not tracked; nothing was committed")
        return Content(overlaid(rest, chosen), present)

    def _named(
        self, session: "Session", before: Entries, source: Path, name: str, progress: Progress
    ) -> Content:
        """Return the parent's files with those of ``source`` in the place of ``name``."""
        above = [path for path in before if name.startswith(path + "/")]
        if above:
            raise UsageError(f"{above[0]} is a file: {name} cannot lie in it")
        taken = self.workspace.take_as(source, name, session, before, progress)
        rest = {p: e for p, e in before.items() if p != name and not p.startswith(name + "/")}
        return Content({**rest, **taken.entries}, taken, frozenset(taken.entries))


def _covered(path: str, wanted: Sequence[str]) -> bool:
    return any(tracked.covers(pattern, path) for pattern in wanted)
