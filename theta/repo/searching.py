"""A search for the best way to merge: trials are merged, written elsewhere, and scored.

Owns the trials' steps. Must not know how a trial is scored, nor the terminal. Nothing that refs
reach is written, and no file of the workspace.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.progress import SILENT, Progress
from theta.repo.merging import Merging
from theta.workspace import Workspace
from theta_store.store import Session

if TYPE_CHECKING:
    from theta.merge import Conflict, Plan, Trial


class Tried(msgspec.Struct, frozen=True):
    """A trial and its score; None where it left the conflicts."""

    trial: "Trial"
    score: float | None
    conflicts: "tuple[Conflict, ...]" = ()


class Searching(Merging):
    """The verb of this file."""

    def search_merge(
        self,
        plan: "Plan",
        trials: "Sequence[Trial]",
        score: Callable[[Path], float],
        *,
        progress: Progress = SILENT,
    ) -> tuple[Tried, ...]:
        """Merge in each of these ways, into a folder of its own, which ``score`` gives a number.

        The folders are gone afterwards. A merge with the method of a trial gives its very tensors.
        """

        def work(session: Session) -> tuple[Tried, ...]:
            now = self._filled(plan, session) if plan.stores else plan
            return tuple(self._try(session, now, trial, score, progress) for trial in trials)

        return self._retried(work)

    def _try(
        self,
        session: Session,
        plan: "Plan",
        trial: "Trial",
        score: Callable[[Path], float],
        progress: Progress,
    ) -> Tried:
        merged = self._applied(session, plan, trial.method, progress)
        if merged.conflicts:
            return Tried(trial, None, tuple(merged.conflicts))
        session.flush()
        with tempfile.TemporaryDirectory(prefix="theta-trial-") as folder:
            outside = Workspace(Path(folder), self.private, self.store)
            outside.export(merged.entries, progress=progress)
            return Tried(trial, score(Path(folder)))


def best_of(tried: Sequence[Tried], *, lower: bool = False) -> Tried | None:
    """Return the trial with the greatest score, or the least; the first of equal ones."""
    scored = [(each.score, each) for each in tried if each.score is not None]
    if not scored:
        return None
    sign = -1 if lower else 1
    return max(scored, key=lambda pair: sign * pair[0])[1]
