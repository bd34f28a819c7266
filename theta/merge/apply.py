"""The values of a merge: strategies run over what the plan left open.

Owns the streaming of sides into merged tensors and the records of merged checkpoints. Must not know
refs, the workspace or the terminal. Memory is bounded by the chunks in flight.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from theta.checkpoint import composed, fits, in_layout
from theta.merge.plan import CheckpointPlan, Conflict, Plan, Resolution
from theta.progress import Progress
from theta.strategies import STRATEGIES, Elementwise, Strategy, is_elementwise
from theta.terms import ABSENT
from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import dtype
from theta_store.hints import Base, Hint, Sum
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Session, Store

Decisions = Mapping[tuple[str, str | None], str]


@dataclass
class MergedSource:
    """A merged tensor, computed range by range as the store asks for its chunks."""

    store: Store
    ids: tuple[TensorId, ...]
    sides: tuple[Tensor, ...]
    strategy: Elementwise
    finite: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dtype(self) -> str:
        """Name of the dtype, the same on all sides."""
        return self.sides[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, the same on all sides."""
        return self.sides[0].shape

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with merged bytes from ``start``; a NaN or infinity is noted."""
        row = dtype(self.dtype)
        values = []
        for side in self.sides:
            plain = bytearray(len(out))
            self.store.read_range(side, start, memoryview(plain))
            values.append(widen(memoryview(plain), row))
        if not all(np.isfinite(side).all() for side in values):
            with self._lock:
                self.finite = False
        with np.errstate(all="ignore"):
            merged = narrow(self.strategy.compute(values), row)
        out[:] = merged.data


@dataclass
class Merged:
    """The files of a merge, what is still open, and how the rest was settled."""

    entries: dict[str, TreeEntry]
    conflicts: list[Conflict]
    resolved: list[Resolution]


def settles(strategy: Strategy, conflict: Conflict) -> bool:
    """Say whether a strategy can settle a conflict."""
    if is_elementwise(strategy):
        return conflict.name is not None and conflict.kind in strategy.kinds
    return strategy.id != "base" or _has_base(conflict)


def _has_base(conflict: Conflict) -> bool:
    return conflict.kind != "add/add"


def apply_merge(
    store: Store, session: Session, plan: Plan, decisions: Decisions, progress: Progress
) -> Merged:
    """Run the decided strategies; what none settles stays a conflict."""
    merged = Merged(dict(plan.entries), [], list(plan.resolved))
    leaves = {part.path: dict(part.leaves) for part in plan.checkpoints}
    computed: list[tuple[Conflict, MergedSource]] = []
    for conflict in plan.conflicts:
        wanted = decisions.get((conflict.path, conflict.name))
        strategy = STRATEGIES.get(wanted) if wanted else None
        if strategy is None or not settles(strategy, conflict):
            merged.conflicts.append(conflict)
        elif is_elementwise(strategy):
            computed.append((conflict, _source(store, conflict, strategy)))
        else:
            _pick(conflict, strategy.id, merged, leaves)
    _compute(session, computed, merged, leaves, progress)
    if not merged.conflicts:
        # The merged tensors' records are asked for below.
        session.flush()
        for part in plan.checkpoints:
            merged.entries[part.path] = _checkpoint(store, session, part, leaves[part.path])
    return merged


def _pick(
    conflict: Conflict, which: str, merged: Merged, leaves: Mapping[str, dict[str, TensorId]]
) -> None:
    index = {"ours": 0, "theirs": 1}.get(which)
    if conflict.leaves is not None and conflict.name is not None:
        leaf = conflict.leaves.bases[0] if index is None else conflict.leaves.sides[index]
        if leaf is not ABSENT:
            leaves[conflict.path][conflict.name] = leaf
    elif conflict.files is not None:
        file = conflict.files.bases[0] if index is None else conflict.files.sides[index]
        if file is not ABSENT:
            merged.entries[conflict.path] = file
    merged.resolved.append(Resolution(conflict.path, conflict.name, which))


def _source(store: Store, conflict: Conflict, strategy: Elementwise) -> MergedSource:
    assert conflict.leaves is not None
    # Canonical order, so that merging a into b and b into a give the same bits.
    ids = sorted(side for side in conflict.leaves.sides if side is not ABSENT)
    return MergedSource(store, tuple(ids), tuple(map(store.tensor, ids)), strategy)


def _compute(
    session: Session,
    computed: list[tuple[Conflict, MergedSource]],
    merged: Merged,
    leaves: Mapping[str, dict[str, TensorId]],
    progress: Progress,
) -> None:
    progress.begin("merging", sum(source.sides[0].nbytes for _, source in computed))
    # Tied names have the same sides: computed twice, stored once.
    items = ((f"{number}", source) for number, (_, source) in enumerate(computed))
    hints = [_hints(source) for _, source in computed]
    for stored in session.put_tensors(items, hints=lambda name: hints[int(name)]):
        conflict, source = computed[int(stored.name)]
        progress.advance(source.sides[0].nbytes)
        if not source.finite:
            merged.conflicts.append(
                Conflict(conflict.path, conflict.name, "non-finite", conflict.leaves)
            )
        elif conflict.name is not None:
            leaves[conflict.path][conflict.name] = stored.id
            how = source.strategy.id
            merged.resolved.append(Resolution(conflict.path, conflict.name, how))


def _hints(source: MergedSource) -> Sequence[Hint]:
    """Return the sides, and that a linear strategy makes their weighted sum."""
    coefficients = source.strategy.coefficients(len(source.ids))
    linear = () if coefficients is None else (Sum(source.ids, coefficients),)
    return (*linear, Base(source.ids[0]))


def _checkpoint(
    store: Store, session: Session, part: CheckpointPlan, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of a merged model, in the layout of the side that it fits."""
    for entry in (part.ours, part.theirs):
        record = store.checkpoint(CheckpointId(entry.id))
        if fits(store, record, leaves):
            return in_layout(session, entry, record, leaves)
    return composed(store, session, part.ours, leaves)
