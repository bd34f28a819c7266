"""``repack``: the history in smaller forms.

Owns the order in which tensors are looked at, parents before children, and what each may have come
from. Must not know the terminal, nor how forms are made.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from theta.config import seconds
from theta.history import ancestors
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.workspace import Ancestry
from theta_store.hints import Base, Hint
from theta_store.ids import CheckpointId, CommitId, TensorId
from theta_store.records import Commit
from theta_store.store import HEAD

if TYPE_CHECKING:
    from theta_store.store import Level, RepackReport


class Repacking(Opened):
    """The verbs of this file."""

    def repack(
        self,
        *,
        level: "Level" = "max",
        since: str | None = None,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> "RepackReport":
        """Re-encode what the commits hold, those after ``since`` if given; no id changes."""
        without = [] if since is None else [self.resolve(since)]
        tips = {*self.store.refs.all().values(), self.store.refs.get(HEAD)}
        found = ancestors(self.store, [tip for tip in tips if tip is not None], without=without)
        commits = list(found)[::-1]
        progress.begin("repacking", self.store.sizes().logical_bytes)
        items = itertools.chain.from_iterable(self._tensors(id_, c) for id_, c in commits)
        return self.store.repack(items, level=level, dry=dry_run, progress=progress.advance)

    def free_bases(
        self, *, dry_run: bool = False, progress: Progress = SILENT
    ) -> "tuple[RepackReport, int]":
        """Store what follows from given-up commits on its own, where gc then wins more than that.

        Return what it came to, and the bytes that gc can take then.
        """
        kept = seconds(self.config.text("gc.undo") or "7d")
        progress.begin("storing anew", 0)
        return self.store.free_bases(undo_seconds=kept, dry=dry_run, progress=progress.advance)

    def _tensors(self, id_: CommitId, commit: Commit) -> Iterator[tuple[TensorId, Sequence[Hint]]]:
        if self.store.is_expired(id_):
            return
        parents = [self.entries(p) for p in commit.parents if not self.store.is_expired(p)]
        ancestry = Ancestry(self.store, parents)
        for path, entry in self.entries(id_).items():
            if entry.kind != "checkpoint" or any(p.get(path) == entry for p in parents):
                continue
            ancestry.settle(path, lambda: None)
            hints = ancestry.hints(path)
            for name, tensor in ancestry.named(CheckpointId(entry.id)).items():
                # What is as the parent has it was looked at with the parent.
                given = [hint for hint in hints(name) if hint != Base(tensor)]
                if given:
                    yield tensor, given
            ancestry.add({path: entry})
