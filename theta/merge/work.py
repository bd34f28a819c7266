"""A tensor that a merge is to compute: from what, and what else its bytes follow from.

Owns the step from a decision to the source of its tensor, the key by which a result is found again,
and the hints for the store. Must not know files, nor where results go.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from theta.merge.casting import Cast, CastSource
from theta.merge.decisions import Decision, changed, has_base, target_dtype, union_terms
from theta.merge.evidence import Knowledge
from theta.merge.exact import Union, UnionSource
from theta.merge.method import ENGINE, Method
from theta.merge.plan import Conflict, Plan
from theta.merge.reshaping import ReshapedValues, reshape_of, terms_of
from theta.merge.sources import MergedSource, Side, StoredValues
from theta.strategies.base import Strategy, permuted
from theta.terms import ABSENT
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.hints import Base, Hint, Sum
from theta_store.ids import CommitId, TensorId
from theta_store.store import Store


@dataclass(frozen=True)
class Work:
    """A tensor to be computed: for which decision, from what, and what it may follow from.

    ``key`` is the same wherever the result is. ``told``: the hints say all there is to know of the
    result, so that whoever stores it reads it once and looks for nothing.
    """

    decision: Decision
    source: MergedSource | UnionSource | CastSource
    hints: tuple[Hint, ...]
    key: str
    told: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that get the result."""
        return tuple(name for name in self.decision.conflict.names if name is not None)

    @property
    def size(self) -> int:
        """Plain bytes of the result."""
        return dtype(self.source.dtype).size_of(self.source.shape)


def work_of(store: Store, plan: Plan, decision: Decision, method: Method) -> Work:
    """Return what a decision means to compute."""
    if isinstance(decision.strategy, Union):
        return _union(store, decision, decision.strategy)
    if isinstance(decision.strategy, Cast):
        return _cast(store, decision, decision.strategy)
    source = source_of(store, plan, decision, method)
    hints = _hints(source, plan.ours)
    if decision.strategy.is_sum and isinstance(hints[0], Sum) and _cannot_overflow(hints[0]):
        source.total = store.sum_of(hints[0])
    source.near = _near(source.values, hints)
    return Work(decision, source, hints, _key_of(source, method), told=_told(source, hints))


def _union(store: Store, decision: Decision, strategy: Union) -> Work:
    terms = union_terms(store, decision.conflict)
    assert terms is not None, "it was found by its terms"
    (_, first), *_ = changed(decision.conflict)
    key = _key(strategy, terms.base.dtype, [*terms.ids, terms.base_id])
    return Work(decision, UnionSource(terms), (Base(first),), key)


def _cast(store: Store, decision: Decision, strategy: Cast) -> Work:
    found = decision.conflict.leaves
    assert found is not None
    id_ = found.sides[strategy.side]
    assert id_ is not ABSENT
    source = CastSource(store, store.tensor(id_), strategy.dtype)
    return Work(decision, source, (Base(id_),), _key(strategy, source.dtype, [id_]))


def source_of(store: Store, plan: Plan, decision: Decision, method: Method) -> MergedSource:
    """Return the tensor that a strategy makes of a conflict, not yet computed."""
    # Canonical order, so that merging a into b and b into a give the same bits.
    found = sorted(changed(decision.conflict), key=lambda each: (each[1], plan.sides[each[0]]))
    places = [place for place, _ in found]
    strategy = permuted(decision.strategy, places)
    strategy.check(len(found))
    if plan.align is not None and strategy.needs.statistics:
        raise UsageError(
            f"{strategy.id} reads statistics, which have the order of units before --align; "
            "nothing was written",
            hint=f"theta merge {plan.label} --align '{plan.align}' -s average",
        )
    values = _terms(store, plan, decision.conflict, strategy, method, found)
    values.known = _knowledge(store, plan, decision.conflict, places)
    name = target_dtype(store, decision.conflict, method)
    assert name is not None, "a strategy was decided on"
    return MergedSource(values, strategy, name)


def _terms(
    store: Store,
    plan: Plan,
    conflict: Conflict,
    strategy: Strategy,
    method: Method,
    found: Sequence[tuple[int, TensorId]],
) -> StoredValues:
    """Return the terms of a conflict, of one shape, with the base where the strategy reads it."""
    assert conflict.leaves is not None
    sides = tuple(Side(tensor, plan.sides[place]) for place, tensor in found)
    reshape = reshape_of(store, plan, conflict, strategy, [place for place, _ in found])
    wanted = reshape is not None or (strategy.reads_base and has_base(store, conflict))
    base = conflict.leaves.bases[0] if wanted else ABSENT
    return terms_of(
        reshape,
        store,
        conflict.name or "",
        sides,
        None if base is ABSENT else base,
        (method.seed, strategy.id),
        nonfinite=method.nonfinite,
    )


def _knowledge(
    store: Store, plan: Plan, conflict: Conflict, places: Sequence[int]
) -> Knowledge | None:
    """Return what is known of the data behind these sides."""
    if conflict.name is None:
        return None
    labels = tuple(plan.labels[place] for place in places)
    commits = {kind: tuple(ids[p] for p in places) for kind, ids in plan.statistics.items()}
    return Knowledge(store, conflict.path, conflict.name, labels, commits)


def _key_of(source: MergedSource, method: Method) -> str:
    """Return the key of a computed tensor: of all that its bytes follow from."""
    values, strategy = source.values, source.strategy
    terms = [side.tensor for side in values.sides]
    base = b"" if values.base_id is None else values.base_id
    more: list[object] = [method.nonfinite]
    if isinstance(values, ReshapedValues):
        more.append(values.reshape.key)
    if values.known is not None:
        more += [values.known.ids(kind) for kind in strategy.needs.statistics]
    if strategy.needs.random:
        more += [method.seed, values.name, [side.commit.hex() for side in values.sides]]
    return _key(strategy, source.dtype, [*terms, base], *more)


def _key(strategy: Strategy, dtype: str, terms: Sequence[bytes], *more: object) -> str:
    parameters = msgspec.to_builtins(strategy)
    parts = [ENGINE, strategy.formula, parameters, dtype, [term.hex() for term in terms], *more]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _cannot_overflow(total: Sum) -> bool:
    """Say whether no product of a finite number is infinite, so that no sum of them is NaN.

    A stored sum has other bits there than a merge's.
    """
    return all(abs(coefficient) <= 1 for coefficient in total.coefficients)


def _told(source: MergedSource, hints: Sequence[Hint]) -> bool:
    """Say whether hints name tensors like the result, and ask for no discovery."""
    sums = any(isinstance(hint, Sum) for hint in hints)
    bases = all(not hint.discover for hint in hints if isinstance(hint, Base))
    like = {(term.dtype, term.shape) for term in source.values.records}
    return (sums or bases) and like == {(source.dtype, source.shape)}


def _near(values: StoredValues, hints: Sequence[Hint]) -> int | None:
    """Return the number of the term that the result will be stored on."""
    ids = [*(side.tensor for side in values.sides), values.base_id]
    return next((ids.index(hint.tensor) for hint in hints if isinstance(hint, Base)), None)


def _hints(source: MergedSource, ours: CommitId) -> tuple[Hint, ...]:
    """Return the sides, and that a linear strategy makes their weighted sum."""
    values = source.values
    ids = tuple(side.tensor for side in values.sides)
    if isinstance(values, ReshapedValues):
        return tuple(map(Base, ids))
    found = source.strategy.linear(len(ids), base=values.has_base)
    # Ours, where it has changed: it may lie in the workspace, where it is read most easily.
    base = next((side.tensor for side in values.sides if side.commit == ours), ids[0])
    if found is None:
        if source.strategy.reads_base and values.base_id is not None:
            # What is made of differences, many of them trimmed, is nearer to what they are from.
            base = values.base_id
        return (Base(base, discover=False),)
    terms, factors = ids, found.sides
    if found.base and values.base_id is not None:
        terms, factors = (*ids, values.base_id), (*found.sides, found.base)
    if {values.store.tensor(id_).dtype for id_ in terms} != {source.dtype}:
        return (Base(base, discover=False),)
    return (Sum(terms, factors), Base(base))
