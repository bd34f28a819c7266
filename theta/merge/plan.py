"""The plan of a merge: what ids alone settle, and what is left open.

Owns the walk over files and parameters of three commits. Must not read a tensor's bytes, nor know
strategies' arithmetic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from theta.checkpoint import named_leaves
from theta.strategies import ConflictKind
from theta.terms import ABSENT, OPEN, Absent, Terms
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.ids import CommitId, TensorId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Store

Entries = Mapping[str, TreeEntry]
Leaf = TensorId | Absent
FileTerm = TreeEntry | Absent


@dataclass(frozen=True)
class Conflict:
    """A name that nothing has settled; ``name`` None is the file as a whole."""

    path: str
    name: str | None
    kind: ConflictKind
    leaves: Terms[Leaf] | None = None
    files: Terms[FileTerm] | None = None


@dataclass(frozen=True)
class Resolution:
    """How a name was settled: by a side, or by a strategy."""

    path: str
    name: str | None
    how: str


@dataclass
class CheckpointPlan:
    """One model on the way: its settled parameters, aliases spelled out as parameters."""

    path: str
    ours: TreeEntry
    theirs: TreeEntry
    leaves: dict[str, TensorId] = field(default_factory=dict)


@dataclass
class Plan:
    """What a merge will be; ``entries`` are the settled files."""

    ours: CommitId
    theirs: CommitId
    base: CommitId | None
    label: str
    entries: dict[str, TreeEntry] = field(default_factory=dict)
    checkpoints: list[CheckpointPlan] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    resolved: list[Resolution] = field(default_factory=list)


def plan_merge(store: Store, plan: Plan, ours: Entries, theirs: Entries, base: Entries) -> Plan:
    """Fill a plan from the files of the three commits."""
    for path in sorted(ours.keys() | theirs.keys() | base.keys()):
        terms: Terms[FileTerm] = Terms(
            (ours.get(path, ABSENT), theirs.get(path, ABSENT)), (base.get(path, ABSENT),)
        )
        settled = terms.resolve()
        if settled is OPEN:
            _open(store, plan, path, terms)
            continue
        if settled is not ABSENT:
            plan.entries[path] = settled
        if settled != terms.sides[0]:
            plan.resolved.append(Resolution(path, None, "theirs"))
    return plan


def _open(store: Store, plan: Plan, path: str, terms: Terms[FileTerm]) -> None:
    ours, theirs = terms.sides
    if ours is ABSENT or theirs is ABSENT:
        plan.conflicts.append(Conflict(path, None, "modify/delete", files=terms))
    elif ours.kind == "checkpoint" == theirs.kind:
        _open_checkpoint(store, plan, path, terms, ours, theirs)
    else:
        kind: ConflictKind = "add/add" if terms.bases[0] is ABSENT else "content"
        plan.conflicts.append(Conflict(path, None, kind, files=terms))


def _open_checkpoint(
    store: Store,
    plan: Plan,
    path: str,
    terms: Terms[FileTerm],
    ours: TreeEntry,
    theirs: TreeEntry,
) -> None:
    part = CheckpointPlan(path, ours, theirs)
    plan.checkpoints.append(part)
    both = [named_leaves(store, entry) for entry in (ours, theirs)]
    base = terms.bases[0]
    before = {} if base is ABSENT or base.kind != "checkpoint" else named_leaves(store, base)
    for name in sorted(both[0].keys() | both[1].keys() | before.keys()):
        leaf: Terms[Leaf] = Terms(
            (both[0].get(name, ABSENT), both[1].get(name, ABSENT)), (before.get(name, ABSENT),)
        )
        settled = leaf.resolve()
        if settled is OPEN:
            plan.conflicts.append(Conflict(path, name, _kind(store, leaf), leaf))
            continue
        if settled is not ABSENT:
            part.leaves[name] = settled
        if settled != leaf.sides[0]:
            plan.resolved.append(Resolution(path, name, "theirs"))


def _kind(store: Store, terms: Terms[Leaf]) -> ConflictKind:

    tensors = list(_present(store, terms))
    if len(tensors) < len(terms.sides):
        return "modify/delete"
    if len({tensor.dtype for tensor in tensors}) > 1:
        return "dtype"
    if len({tensor.shape for tensor in tensors}) > 1:
        return "shape"
    if not is_computable(dtype(tensors[0].dtype)):
        return "non-float"
    return "add/add" if terms.bases[0] is ABSENT else "content"


def _present(store: Store, terms: Terms[Leaf]) -> Iterator[Tensor]:
    for side in terms.sides:
        if side is not ABSENT:
            yield store.tensor(side)
