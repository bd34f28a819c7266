"""Sides whose models have their units in the order of ours, before anything is planned.

Owns which models are aligned, and the permuted tensors, stored like any. Must not know strategies,
nor how units are matched.

A model is aligned where ids leave its file open, and only to what is ours: a side that has what the
base has, or what is ours, stays as it is. Two models are in memory, as float32 or float64.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta.alignment import Permutations, Rule, Spec, align, permuted, recognised
from theta.checkpoint import in_layout, named_leaves
from theta.merge.alignment import HINT
from theta.merge.decisions import is_optimizer
from theta.merge.json_keys import Number, read_json
from theta.merge.plan import Entries, FileTerm, Plan
from theta.merge.shapes import folder_of
from theta.merge.vocabulary_size import CONFIG
from theta.terms import ABSENT, OPEN, Terms
from theta_store.arithmetic import is_computable, widen
from theta_store.array_source import ArraySource
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.hints import Base
from theta_store.ids import BlobId, CheckpointId, TensorId
from theta_store.records import TreeEntry
from theta_store.store import Session, Store

HEADS = "num_attention_heads"

Leaves = Mapping[str, TensorId]
Array = NDArray[Any]


def aligned_sides(
    store: Store, session: Session, plan: Plan, sides: Sequence[Entries], base: Entries
) -> list[Entries]:
    """Return the files of the sides, models permuted as the plan says; it notes their architecture.

    A model that cannot be aligned is a `UsageError`.
    """
    work = _Aligning(store, session, plan)
    found = [dict(side) for side in sides]
    for path in sorted(sides[0]):
        terms: Terms[FileTerm] = Terms(
            tuple(side.get(path, ABSENT) for side in sides), (base.get(path, ABSENT),)
        )
        for place in _to_align(path, terms):
            found[place][path] = work.aligned(path, place, found)
    return list(found)


def _to_align(path: str, terms: Terms[FileTerm]) -> Iterator[int]:
    """Yield the sides whose model at a path is to be aligned with ours."""
    if terms.resolve() is not OPEN or is_optimizer(path, None) or not _is_model(terms.sides[0]):
        return
    for place, entry in enumerate(terms.sides):
        if _is_model(entry) and entry not in (terms.sides[0], terms.bases[0]):
            yield place


def _is_model(entry: FileTerm) -> bool:
    return entry is not ABSENT and entry.kind == "checkpoint"


@dataclass(frozen=True)
class _Aligning:
    store: Store
    session: Session
    plan: Plan

    def aligned(self, path: str, place: int, sides: Sequence[Entries]) -> TreeEntry:
        """Return a side's model at a path, permuted; an error names both."""
        ours, theirs = sides[0][path], sides[place][path]
        heads = _heads(self.store, sides[0], path)
        try:
            return self._aligned(path, heads, ours, theirs)
        except UsageError as error:
            who = self.plan.labels[place]
            message = f"{path} of {who} cannot be aligned: {error.message}; nothing was written"
            raise UsageError(message, hint=error.hint or HINT) from None

    def _aligned(
        self, path: str, heads: int | None, ours: TreeEntry, theirs: TreeEntry
    ) -> TreeEntry:
        store, asked = self.store, self.plan.align
        assert asked is not None
        one, two = named_leaves(store, ours), named_leaves(store, theirs)
        shapes = {name: store.tensor(id_).shape for name, id_ in one.items()}
        architecture, spec = recognised(shapes, asked.architecture, asked.heads or heads)
        _check(store, spec, two)
        orders = align(spec, _values(store, one), _values(store, two))
        leaves = _permuted(store, self.session, spec, orders, two)
        record = store.checkpoint(CheckpointId(theirs.id))
        for alias, tied in record.aliases.items():
            if leaves[alias] != leaves[tied]:
                raise UsageError(f"{alias} is tied to {tied}, whose units are others")
        self.plan.aligned[path] = architecture
        return in_layout(self.session, theirs, record, leaves)


def _check(store: Store, spec: Spec, leaves: Leaves) -> None:
    """Refuse units that no arithmetic can compare, or that share bytes."""
    for name, rule in spec.of(leaves).items():
        kind = store.tensor(leaves[name]).dtype
        if rule.axes and not is_computable(dtype(kind)):
            raise UsageError(f"{name} is {kind}, and only floating-point units can be matched")


def _permuted(
    store: Store, session: Session, spec: Spec, orders: Permutations, leaves: Leaves
) -> dict[str, TensorId]:
    """Store what a permutation changes, a tensor at a time, and return all leaves."""
    moved = {name: order for name, order in orders.items() if (np.diff(order) != 1).any()}

    def sources() -> Iterator[tuple[str, ArraySource]]:
        for name, rule in spec.of(leaves).items():
            if any(axis.permutation in moved for axis in rule.axes):
                yield name, _source(store, rule, moved, leaves[name])

    stored = session.put_tensors(sources(), hints=lambda name: (Base(leaves[name]),))
    found = dict(leaves) | {each.name: each.id for each in stored}
    session.flush()
    return found


def _source(store: Store, rule: Rule, orders: Permutations, id_: TensorId) -> ArraySource:
    record = store.tensor(id_)
    # Codes, not numbers: every bit of a NaN stays.
    codes = _plain(store, id_).view(f"V{dtype(record.dtype).nbytes}").reshape(record.shape)
    turned = np.ascontiguousarray(permuted(rule, orders, codes))
    return ArraySource(record.dtype, record.shape, turned.reshape(-1).view(np.uint8))


def _values(store: Store, leaves: Leaves) -> dict[str, Array]:
    return {name: _array(store, id_) for name, id_ in leaves.items()}


def _array(store: Store, id_: TensorId) -> Array:
    """Return a tensor as numbers; one that is no real number stands for its shape alone."""
    record = store.tensor(id_)
    row = dtype(record.dtype)
    if not is_computable(row):
        return np.broadcast_to(np.zeros((), np.float32), record.shape)
    return widen(_plain(store, id_), row).reshape(record.shape)


def _plain(store: Store, id_: TensorId) -> NDArray[np.uint8]:
    record = store.tensor(id_)
    plain = np.empty(record.nbytes, np.uint8)
    store.read_range(record, 0, plain.data)
    return plain


def _heads(store: Store, entries: Entries, path: str) -> int | None:
    """Return how many heads the configuration beside a model names; None where none does."""
    entry = entries.get(folder_of(path) + CONFIG)
    if entry is None or entry.kind != "blob":
        return None
    try:
        value = read_json(store.read_bytes(BlobId(entry.id)).decode()).value
    except (ValueError, RecursionError):
        return None
    found = value.get(HEADS) if isinstance(value, dict) else None
    return int(found.text) if isinstance(found, Number) and found.text.isdecimal() else None
