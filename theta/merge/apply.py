"""The values of a merge: strategies run over what the plan left open.

Owns the streaming of sides into merged tensors and the records of merged checkpoints. Must not know
refs, the workspace or the terminal. Memory is bounded by the chunks in flight.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from theta.checkpoint import composed, fits, in_layout
from theta.merge.ahead import prepared_ahead
from theta.merge.casting import Cast, CastSource
from theta.merge.decisions import (
    Decided,
    Decision,
    changed,
    has_base,
    target_dtype,
    union_terms,
)
from theta.merge.documents import DocumentPlan
from theta.merge.evidence import Knowledge
from theta.merge.exact import Union, UnionSource
from theta.merge.finished import Finished
from theta.merge.held import Held
from theta.merge.method import ENGINE, Method
from theta.merge.plan import CheckpointPlan, Conflict, Plan, Resolution
from theta.merge.reshaping import ReshapedValues, reshape_of, terms_of
from theta.merge.sources import MergedSource, Side
from theta.merge.tokenizers import UNITED
from theta.merge.vocabulary_size import resize_config
from theta.progress import Progress
from theta.strategies.base import Strategy, permuted
from theta.strategies.pick import Pick
from theta.strategies.union_rows import UnionRows
from theta.terms import ABSENT
from theta_store.dtypes import dtype
from theta_store.hints import Base, Hint, Sum
from theta_store.ids import CheckpointId, TensorId
from theta_store.records import TreeEntry
from theta_store.store import Session, Store

# The sides that picking strategies name; another one takes the base.
PLACES = {"ours": 0, "theirs": 1}
# What a key of a file gets: a side, or what the sides' vocabularies make together.
SOURCES = PLACES | {UnionRows.id: UNITED}


@dataclass
class Merged:
    """The files of a merge, what is still open, and how the rest was settled.

    ``computed`` tensors were made now, ``reused`` ones by a try that was interrupted.
    """

    entries: dict[str, TreeEntry]
    conflicts: list[Conflict]
    resolved: list[Resolution]
    decisions: tuple[Decision, ...] = ()
    leaves: dict[str, dict[str, TensorId]] = field(default_factory=dict)
    computed: int = 0
    reused: int = 0

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user is to be told, once for each file."""
        found = (f"{d.conflict.path}: {d.notice}" for d in self.decisions if d.notice)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Work:
    """A tensor to be computed: for which decision, from what, and what it may follow from.

    ``key`` is the same wherever the result is.
    """

    decision: Decision
    source: MergedSource | UnionSource | CastSource
    hints: tuple[Hint, ...]
    key: str

    @property
    def size(self) -> int:
        """Plain bytes of the result."""
        return dtype(self.source.dtype).size_of(self.source.shape)


def apply_merge(
    store: Store,
    session: Session,
    plan: Plan,
    decided: Decided,
    method: Method,
    progress: Progress,
    finished: Finished | None = None,
) -> Merged:
    """Run the decided strategies; what none settles stays a conflict.

    Where conflicts are left already, nothing is computed.
    """
    merged = Merged(dict(plan.entries), list(decided.left), list(plan.resolved), decided.decisions)
    merged.leaves = {part.path: dict(part.leaves) for part in plan.checkpoints}
    works = []
    picked: dict[tuple[str, str | None], str] = {}
    for decision in decided.decisions:
        if decision.conflict.leaves is None and isinstance(decision.strategy, UnionRows):
            picked[decision.conflict.key] = decision.strategy.id
            _resolve(merged, decision.conflict, decision.strategy.id)
        elif isinstance(decision.strategy, Pick):
            picked[decision.conflict.key] = decision.strategy.id
            _pick(decision.conflict, decision.strategy.id, merged)
        else:
            works.append(_work(store, plan, decision, method))
    if merged.conflicts:
        return merged
    _compute(session, works, merged, finished or Finished(store, None), progress)
    if not merged.conflicts:
        # The merged tensors' records are asked for below.
        session.flush()
        for part in plan.checkpoints:
            merged.entries[part.path] = _checkpoint(store, session, part, merged.leaves[part.path])
        for document in plan.documents:
            merged.entries[document.path] = _document(session, document, picked)
        for decision in decided.decisions:
            if isinstance(decision.strategy, UnionRows):
                _resize(store, session, merged, decision.conflict)
    return merged


def _resize(store: Store, session: Session, merged: Merged, conflict: Conflict) -> None:
    """Let the configuration beside a model say how many rows there are now."""
    if conflict.leaves is None or conflict.name is None:
        return
    rows = store.tensor(merged.leaves[conflict.path][conflict.name]).shape[0]
    terms = (*conflict.leaves.sides, *conflict.leaves.bases)
    sizes = {store.tensor(id_).shape[0]: rows for id_ in terms if id_ is not ABSENT}
    resize_config(store, session, merged.entries, conflict.path, sizes)


def _document(
    session: Session, document: DocumentPlan, picked: Mapping[tuple[str, str | None], str]
) -> TreeEntry:
    def chosen(name: str) -> int | None:
        return SOURCES.get(picked[document.path, name])

    blob = session.put_bytes(document.compose(chosen))
    entry = document.entry
    return TreeEntry(entry.name, "blob", blob, entry.executable)


def _pick(conflict: Conflict, which: str, merged: Merged) -> None:
    index = PLACES.get(which)
    if conflict.leaves is not None and conflict.name is not None:
        leaf = conflict.leaves.bases[0] if index is None else conflict.leaves.sides[index]
        if leaf is not ABSENT:
            _put(merged, conflict, leaf)
    elif conflict.files is not None:
        file = conflict.files.bases[0] if index is None else conflict.files.sides[index]
        if file is not ABSENT:
            merged.entries[conflict.path] = file
    _resolve(merged, conflict, which)


def _put(merged: Merged, conflict: Conflict, leaf: TensorId) -> None:
    """Give a tensor to the name of a conflict and to those tied to it."""
    assert conflict.name is not None
    merged.leaves[conflict.path] |= dict.fromkeys((conflict.name, *conflict.ties), leaf)


def _resolve(merged: Merged, conflict: Conflict, how: str) -> None:
    names = (conflict.name, *conflict.ties)
    merged.resolved += [Resolution(conflict.path, name, how) for name in names]


def _work(store: Store, plan: Plan, decision: Decision, method: Method) -> Work:
    if isinstance(decision.strategy, Union):
        terms = union_terms(store, decision.conflict)
        assert terms is not None, "it was found by its terms"
        (_, first), *_ = changed(decision.conflict)
        key = _key(decision.strategy, terms.base.dtype, [*terms.ids, terms.base_id])
        return Work(decision, UnionSource(terms), (Base(first),), key)
    if isinstance(decision.strategy, Cast):
        found = decision.conflict.leaves
        assert found is not None
        id_ = found.sides[decision.strategy.side]
        assert id_ is not ABSENT
        cast = CastSource(store, store.tensor(id_), decision.strategy.dtype)
        key = _key(decision.strategy, cast.dtype, [id_])
        return Work(decision, cast, (Base(id_),), key)
    source = source_of(store, plan, decision, method)
    return Work(decision, source, _hints(source), _key_of(source, method))


def source_of(store: Store, plan: Plan, decision: Decision, method: Method) -> MergedSource:
    """Return the tensor that a strategy makes of a conflict, not yet computed."""
    conflict = decision.conflict
    assert conflict.leaves is not None
    # Canonical order, so that merging a into b and b into a give the same bits.
    found = sorted(changed(conflict), key=lambda each: (each[1], plan.sides[each[0]]))
    strategy = permuted(decision.strategy, [place for place, _ in found])
    strategy.check(len(found))
    sides = tuple(Side(tensor, plan.sides[place]) for place, tensor in found)
    reshape = reshape_of(store, plan, conflict, strategy, [place for place, _ in found])
    wanted = reshape is not None or (strategy.reads_base and has_base(store, conflict))
    base = conflict.leaves.bases[0] if wanted else ABSENT
    values = terms_of(
        reshape,
        store,
        conflict.name or "",
        sides,
        None if base is ABSENT else base,
        (method.seed, strategy.id),
        nonfinite=method.nonfinite,
    )
    values.known = _knowledge(store, plan, conflict, [place for place, _ in found])
    name = target_dtype(store, conflict, method)
    assert name is not None, "a strategy was decided on"
    return MergedSource(values, strategy, name)


def _knowledge(
    store: Store, plan: Plan, conflict: Conflict, places: Sequence[int]
) -> Knowledge | None:
    """Return what is known of the data behind these sides."""
    if conflict.name is None:
        return None
    labels = tuple(plan.labels[place] for place in places)
    commits = {kind: tuple(ids[p] for p in places) for kind, ids in plan.statistics.items()}
    return Knowledge(store, conflict.path, conflict.name, labels, commits)


def _compute(
    session: Session,
    works: Sequence[Work],
    merged: Merged,
    finished: Finished,
    progress: Progress,
) -> None:
    progress.begin("merging", sum(work.size for work in works))
    left = []
    for work in works:
        tensor = finished.find(work.key)
        if tensor is None:
            left.append(work)
        else:
            _take(merged, work, tensor)
            merged.reused += 1
            progress.advance(work.size)
    held = Held(session.memory // 2)
    for work in left:
        if isinstance(work.source, MergedSource):
            work.source.held = held
    sources = prepared_ahead([work.source for work in left], session.threads)
    items = ((f"{number}", source) for number, source in enumerate(sources))
    for stored in session.put_tensors(items, hints=lambda name: left[int(name)].hints):
        work = left[int(stored.name)]
        work.source.release()
        merged.computed += 1
        progress.advance(work.size)
        if work.source.finite:
            finished.add(session, work.key, stored.id, work.size)
        _take(merged, work, stored.id)
    finished.settle(session)


def _take(merged: Merged, work: Work, tensor: TensorId) -> None:
    conflict = work.decision.conflict
    if not work.source.finite:
        merged.conflicts.append(replace(conflict, kind="non-finite"))
        return
    _put(merged, conflict, tensor)
    _resolve(merged, conflict, work.decision.strategy.id)


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


def _hints(source: MergedSource) -> tuple[Hint, ...]:
    """Return the sides, and that a linear strategy makes their weighted sum."""
    values = source.values
    ids = tuple(side.tensor for side in values.sides)
    if isinstance(values, ReshapedValues):
        return tuple(map(Base, ids))
    found = source.strategy.linear(len(ids), base=values.has_base)
    if found is None:
        return (Base(ids[0], discover=False),)
    terms, factors = ids, found.sides
    if found.base and values.base_id is not None:
        terms, factors = (*ids, values.base_id), (*found.sides, found.base)
    if {values.store.tensor(id_).dtype for id_ in terms} != {source.dtype}:
        return (Base(ids[0], discover=False),)
    return (Sum(terms, factors), Base(ids[0]))


def _checkpoint(
    store: Store, session: Session, part: CheckpointPlan, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of a merged model, in the layout of the side that it fits."""
    for entry in part.entries:
        record = store.checkpoint(CheckpointId(entry.id))
        if fits(store, record, leaves):
            return in_layout(session, entry, record, leaves)
    return composed(store, session, part.entries[0], leaves)
