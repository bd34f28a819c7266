"""``apply``: an update that was trained apart goes into a checkpoint of the workspace.

Owns its steps. Must not know how an adapter lies on disk, nor the terminal. What is overwritten is
stored first, and one operation says so, which undo takes back.
"""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from theta.checkpoint import named_leaves, spelled, transplanted
from theta.progress import SILENT, Progress
from theta.repo.restoring import Restoring, Rewrite
from theta.repo.values import Applied
from theta.workspace import Present
from theta.workspace import tracking as tracked
from theta_store.dtypes import dtype
from theta_store.errors import UnknownFile, UsageError
from theta_store.hints import Adapter as Update
from theta_store.hints import Base
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Hashing, Session

if TYPE_CHECKING:
    from theta.adapter import Adapter, LowRank


class Applying(Restoring):
    """The verb of this file."""

    def apply(
        self,
        folder: Path,
        *,
        to: str | None = None,
        scale: float = 1.0,
        cwd: Path | None = None,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> Applied:
        """Add a PEFT adapter (LoRA) to a checkpoint as it is on disk; the next commit stores it so.

        ``to`` names the checkpoint if there are several; the update is multiplied by ``scale``.
        Each value is base + scale · left · right, the product exact on a grid (see the predictor
        ``low-rank``) and the sum rounded once: the same on every machine.
        """
        wanted = None if to is None else self.workspace.relative(cwd or self.root, to)
        # Formats and numbers bring numpy; all other verbs do without this one's.
        from theta.adapter import open_adapter

        with open_adapter(folder) as adapter:
            if dry_run:
                hashed = self.store.hashing()
                path, now = self._target(self._look(hashed, progress), wanted)
                names = self._placed(hashed, path, now, adapter)
                for update in adapter.added.values():
                    update.factors(scale)
                return Applied(path, tuple(names.values()), adapter.rank, adapter.base_model)

            def work(session: Session) -> Applied:
                path, now = self._target(self._look(session, progress), wanted)
                names = self._placed(session, path, now, adapter)
                leaves = named_leaves(self.store, now)
                before = session.stored_bytes
                new = dict(self._stored(session, adapter, names, leaves, scale))
                stored = session.stored_bytes - before
                made = transplanted(self._reader_of(session), session, path, now, new)
                todo = Rewrite({path: made}, {path: now}, (), {path: made}, tuple(new))
                self._rewrite(session, "apply", f"{folder.name} to {path}", todo, progress)
                return Applied(path, tuple(new), adapter.rank, adapter.base_model, stored)

            return self._retried(work)

    def _target(self, present: Present, wanted: str | None) -> tuple[str, TreeEntry]:
        """Return the checkpoint on disk that is meant: by its own name, its folder, or a shard."""
        found = {
            path: entry
            for path, entry in present.entries.items()
            if entry.kind == "checkpoint"
            and (
                wanted is None
                or any(tracked.covers(wanted, part) for part in self.workspace.parts_present(path))
            )
        }
        if len(found) != 1:
            some = ", ".join(found) or "none"
            raise UnknownFile(
                f"{wanted or 'the workspace'} has {len(found)} tracked checkpoints ({some})",
                hint="theta apply ADAPTER --to FILE",
            )
        return next(iter(found.items()))

    def _placed(
        self, putter: Session | Hashing, path: str, now: TreeEntry, adapter: "Adapter"
    ) -> dict[str, str]:
        """Return the checkpoint's parameters by the adapter's names; all must fit."""
        reader = self._reader_of(putter)
        leaves = named_leaves(reader, now)
        names = adapter.placed(leaves)
        for name, update in adapter.added.items():
            _check_fits(f"{path}::{names[name]}", reader.tensor(leaves[names[name]]), update)
        for name, source in adapter.replaced.items():
            old = reader.tensor(leaves[names[name]])
            if (old.dtype, old.shape) != (source.dtype, tuple(source.shape)):
                here, there = spelled(old.dtype, old.shape), spelled(source.dtype, source.shape)
                raise UsageError(f"{path}::{names[name]} is {here}, the adapter's {there}")
        changed = set(names.values())
        for alias, name in reader.checkpoint(CheckpointId(now.id)).aliases.items():
            if (alias in changed) != (name in changed):
                raise UsageError(f"{path}: {alias} is tied to {name}, which would differ")
        return names

    def _stored(
        self,
        session: Session,
        adapter: "Adapter",
        names: Mapping[str, str],
        leaves: Mapping[str, TensorId],
        scale: float,
    ) -> Iterator[tuple[str, TensorId]]:
        """Store the new tensors; yield them by the checkpoint's names."""
        bases = dict(leaves)
        replaced = {names[name]: source for name, source in adapter.replaced.items()}
        for stored in session.put_tensors(
            replaced.items(), hints=lambda name: (Base(leaves[name]),)
        ):
            # A layer whose weight comes with the adapter has its update on top of that.
            bases[stored.name] = stored.id
            yield stored.name, stored.id
        session.flush()
        updates = {}
        for name, update in adapter.added.items():
            left, right = map(session.keep, update.factors(scale))
            updates[names[name]] = Update(bases[names[name]], left, right)
        sources = ((name, self.store.adapted(update)) for name, update in updates.items())
        for stored in session.put_tensors(sources, hints=lambda name: (updates[name],)):
            yield stored.name, stored.id


def _check_fits(name: str, tensor: Tensor, update: "LowRank") -> None:
    from theta_store.arithmetic import is_computable

    if not is_computable(dtype(tensor.dtype)):
        raise UsageError(f"{name} is {tensor.dtype}: an update cannot be added to it")
    if (tensor.shape[:1], prod(tensor.shape[1:])) != (update.shape[:1], update.shape[1]):
        shape, wanted = ("×".join(map(str, sizes)) for sizes in (tensor.shape, update.shape))
        raise UsageError(f"{name} is {shape}, the adapter's update {wanted}")
