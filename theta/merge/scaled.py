"""A plan in which the change of the other side has a size: nothing of it is settled by ids.

Owns what is opened again after the plan: every number that the other side changed, whether ours
changed it or not. Must not know why a change is scaled, nor by how much.

A change has a size where all three terms have one shape and one floating-point dtype. What else
the other side changed (files, whole numbers, names that come or go) stays as the plan has it.
"""

from collections.abc import Iterator, Mapping, Sequence

from theta.checkpoint import named_leaves, same_spec
from theta.merge.plan import CheckpointPlan, Conflict, Entries, Leaf, Plan, Resolution
from theta.terms import ABSENT, OPEN, Terms
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.records import TreeEntry
from theta_store.store import Store

Leaves = Mapping[str, TensorId]


def open_changes(store: Store, plan: Plan, sides: Sequence[Entries], base: Entries) -> Plan:
    """Open every scalable change of the second side in a plan of two sides, and return the plan."""
    for path, old in sorted(base.items()):
        entries = (*(side.get(path) for side in sides), old)
        models = [entry for entry in entries if entry is not None and entry.kind == "checkpoint"]
        if len(models) == len(entries) and entries[1] != old:
            _open_model(store, plan, path, models)
    plan.conflicts.sort(key=lambda conflict: (conflict.path, conflict.name or ""))
    return plan


def _open_model(store: Store, plan: Plan, path: str, models: list[TreeEntry]) -> None:
    ours, theirs, base = (named_leaves(store, entry) for entry in models)
    part = _part(plan, path, models, (ours, theirs, base))
    known = {conflict.name for conflict in plan.conflicts if conflict.path == path}
    known |= {name for c in plan.conflicts if c.path == path for name in c.ties}
    opened = {}
    for name, terms in _scalable(store, ours, theirs, base):
        if name not in known:
            opened[name] = Conflict(path, name, "content", terms)
            part.leaves.pop(name, None)
    plan.conflicts += opened.values()
    plan.resolved = [r for r in plan.resolved if r.path != path or r.name not in opened]


def _part(
    plan: Plan, path: str, models: list[TreeEntry], found: tuple[Leaves, Leaves, Leaves]
) -> CheckpointPlan:
    """Return the model's plan; a model that ids settled as a whole gets one, name by name."""
    for part in plan.checkpoints:
        if part.path == path:
            return part
    ours, theirs, base = found
    names = sorted(set().union(*found))
    part = CheckpointPlan(path, tuple(models[:2]), names=frozenset(names))
    plan.checkpoints.append(part)
    plan.resolved = [r for r in plan.resolved if (r.path, r.name) != (path, None)]
    for name in names:
        sides = (_at(ours, name), _at(theirs, name))
        settled = Terms(sides, (_at(base, name),)).resolve()
        assert settled is not OPEN, "one side has the whole model of the other, or of the base"
        if settled is not ABSENT:
            part.leaves[name] = settled
        if settled != sides[0]:
            plan.resolved.append(Resolution(path, name, plan.who(1)))
    return part


def _scalable(
    store: Store, ours: Leaves, theirs: Leaves, base: Leaves
) -> Iterator[tuple[str, Terms[Leaf]]]:
    for name in sorted(ours.keys() & theirs.keys() & base.keys()):
        one, two, old = ours[name], theirs[name], base[name]
        if two == old or not is_computable(dtype(store.tensor(old).dtype)):
            continue
        if same_spec(store, one, old) and same_spec(store, two, old):
            yield name, Terms((one, two), (old,))


def _at(leaves: Leaves, name: str) -> Leaf:
    return leaves.get(name, ABSENT)
