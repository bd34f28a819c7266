"""The values of a merge: strategies run over what the plan left open.

Owns the streaming of sides into merged tensors and the records of merged checkpoints. Must not know
refs, the workspace or the terminal. Memory is bounded by the chunks in flight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from theta.checkpoint import composed, fits, in_layout
from theta.merge.plan import CheckpointPlan, Conflict, Plan, Resolution
from theta.progress import Progress
from theta.strategies import STRATEGIES, Strategy
from theta.strategies.base import Kernel
from theta.strategies.pick import Pick
from theta.strategies.values import Block, Evidence, Floats, Values
from theta.terms import ABSENT
from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.hints import Base, Hint, Sum
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Session, Store

Decisions = Mapping[tuple[str, str | None], str]


@dataclass
class StoredValues(Values):
    """The terms of one parameter, read from the store; sides in canonical order, by tensor id."""

    store: Store
    name: str
    ids: tuple[TensorId, ...]
    base_id: TensorId | None = None
    finite: bool = True

    def __post_init__(self) -> None:
        self.records = tuple(map(self.store.tensor, self.ids))
        self.base = None if self.base_id is None else self.store.tensor(self.base_id)
        self.shape = self.records[0].shape
        self.count = len(self.records)
        self.has_base = self.base is not None

    def read(self, start: int, stop: int) -> Block:
        """Return the elements from ``start`` to ``stop``; a NaN or infinity in a side is noted."""
        sides = tuple(self._floats(record, start, stop) for record in self.records)
        if not all(np.isfinite(side).all() for side in sides):
            self.finite = False
        base = None if self.base is None else self._floats(self.base, start, stop)
        return Block(start, sides, base)

    def _floats(self, record: Tensor, start: int, stop: int) -> Floats:
        row = dtype(record.dtype)
        plain = bytearray((stop - start) * row.nbytes)
        self.store.read_range(record, start * row.nbytes, memoryview(plain))
        return widen(memoryview(plain), row)

    def uniform(self, side: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return a side's random numbers."""
        raise NotImplementedError

    def statistic(self, kind: str) -> Sequence[Evidence]:
        """Return a statistic of each side."""
        raise UsageError(f"{self.name}: no side has {kind}")


@dataclass
class MergedSource:
    """A merged tensor, computed range by range as the store asks for its chunks."""

    values: StoredValues
    strategy: Strategy

    @property
    def dtype(self) -> str:
        """Name of the dtype, the same on all sides."""
        return self.values.records[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, the same on all sides."""
        return self.values.shape

    @cached_property
    def kernel(self) -> Kernel:
        """The prepared strategy; made once."""
        return self.strategy.prepare(self.values)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with merged bytes from ``start``."""
        row = dtype(self.dtype)
        block = self.values.read(start // row.nbytes, (start + len(out)) // row.nbytes)
        with np.errstate(all="ignore"):
            out[:] = narrow(self.kernel(block), row).data


@dataclass
class Merged:
    """The files of a merge, what is still open, and how the rest was settled."""

    entries: dict[str, TreeEntry]
    conflicts: list[Conflict]
    resolved: list[Resolution]


def settles(strategy: Strategy, conflict: Conflict) -> bool:
    """Say whether a strategy can settle a conflict."""
    if strategy.needs.base and not _has_base(conflict):
        return False
    return isinstance(strategy, Pick) or (
        conflict.name is not None and conflict.kind in strategy.kinds
    )


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
        strategy = STRATEGIES.get(wanted)() if wanted else None
        if strategy is None or not settles(strategy, conflict):
            merged.conflicts.append(conflict)
        elif isinstance(strategy, Pick):
            _pick(conflict, strategy.id, merged, leaves)
        else:
            computed.append((conflict, _source(store, conflict, strategy)))
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


def _source(store: Store, conflict: Conflict, strategy: Strategy) -> MergedSource:
    assert conflict.leaves is not None
    # Canonical order, so that merging a into b and b into a give the same bits.
    ids = sorted(side for side in conflict.leaves.sides if side is not ABSENT)
    return MergedSource(StoredValues(store, conflict.name or "", tuple(ids)), strategy)


def _compute(
    session: Session,
    computed: list[tuple[Conflict, MergedSource]],
    merged: Merged,
    leaves: Mapping[str, dict[str, TensorId]],
    progress: Progress,
) -> None:
    progress.begin("merging", sum(source.values.records[0].nbytes for _, source in computed))
    # Tied names have the same sides: computed twice, stored once.
    items = ((f"{number}", source) for number, (_, source) in enumerate(computed))
    hints = [_hints(source) for _, source in computed]
    for stored in session.put_tensors(items, hints=lambda name: hints[int(name)]):
        conflict, source = computed[int(stored.name)]
        progress.advance(source.values.records[0].nbytes)
        if not source.values.finite:
            merged.conflicts.append(
                Conflict(conflict.path, conflict.name, "non-finite", conflict.leaves)
            )
        elif conflict.name is not None:
            leaves[conflict.path][conflict.name] = stored.id
            how = source.strategy.id
            merged.resolved.append(Resolution(conflict.path, conflict.name, how))


def _hints(source: MergedSource) -> Sequence[Hint]:
    """Return the sides, and that a linear strategy makes their weighted sum."""
    ids = source.values.ids
    found = source.strategy.linear(len(ids), base=False)
    linear = () if found is None else (Sum(ids, found.sides),)
    return (*linear, Base(ids[0]))


def _checkpoint(
    store: Store, session: Session, part: CheckpointPlan, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of a merged model, in the layout of the side that it fits."""
    for entry in (part.ours, part.theirs):
        record = store.checkpoint(CheckpointId(entry.id))
        if fits(store, record, leaves):
            return in_layout(session, entry, record, leaves)
    return composed(store, session, part.ours, leaves)
