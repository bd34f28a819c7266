"""The values of a merge: strategies run over what the plan left open.

Owns the run over all tensors and the records of merged checkpoints. Must not know what a tensor is
computed from, nor refs, the workspace or the terminal. Memory is bounded by the chunks in flight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from theta.checkpoint import composed, fits, in_layout
from theta.merge.ahead import prepared_ahead
from theta.merge.decisions import Decided, Decision
from theta.merge.documents import DocumentPlan
from theta.merge.finished import Finished
from theta.merge.held import Held
from theta.merge.method import Method
from theta.merge.plan import CheckpointPlan, Conflict, Plan, Resolution
from theta.merge.sources import MergedSource
from theta.merge.tokenizers import UNITED
from theta.merge.vocabulary_size import resize_config
from theta.merge.work import Work, work_of
from theta.progress import Progress
from theta.strategies.pick import Pick
from theta.strategies.union_rows import UnionRows
from theta.terms import ABSENT
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
    works = [
        work_of(store, plan, decision, method)
        for decision in decided.decisions
        if not _picked(merged, decision)
    ]
    if not merged.conflicts:
        _compute(session, works, merged, finished or Finished(store, None), progress)
    if not merged.conflicts:
        _write(store, session, plan, merged)
    return merged


def _picked(merged: Merged, decision: Decision) -> bool:
    """Settle what takes no computing: a side as it is, or vocabularies, which follow rows."""
    if decision.conflict.leaves is None and isinstance(decision.strategy, UnionRows):
        _resolve(merged, decision.conflict, decision.strategy.id)
    elif isinstance(decision.strategy, Pick):
        _pick(decision.conflict, decision.strategy.id, merged)
    else:
        return False
    return True


def _write(store: Store, session: Session, plan: Plan, merged: Merged) -> None:
    """Put the records of merged models and files."""
    # The merged tensors' records are asked for below.
    session.flush()
    for part in plan.checkpoints:
        merged.entries[part.path] = _checkpoint(store, session, part, merged.leaves[part.path])
    picked = {d.conflict.key: d.strategy.id for d in merged.decisions}
    for document in plan.documents:
        merged.entries[document.path] = _document(session, document, picked)
    for decision in merged.decisions:
        if isinstance(decision.strategy, UnionRows):
            _resize(store, session, merged, decision.conflict)


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


def _compute(
    session: Session,
    works: Sequence[Work],
    merged: Merged,
    finished: Finished,
    progress: Progress,
) -> None:
    progress.begin("merging", sum(work.size for work in works))
    left = [work for work in works if not _found(merged, work, finished, progress)]
    held = Held(session.limits.memory // 2)
    for work in left:
        if isinstance(work.source, MergedSource):
            work.source.held = held
    sources = prepared_ahead([work.source for work in left], session.limits.threads)
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


def _found(merged: Merged, work: Work, finished: Finished, progress: Progress) -> bool:
    """Take what an interrupted try has computed; say whether there was something."""
    tensor = finished.find(work.key)
    if tensor is None:
        return False
    _take(merged, work, tensor)
    merged.reused += 1
    progress.advance(work.size)
    return True


def _take(merged: Merged, work: Work, tensor: TensorId) -> None:
    conflict = work.decision.conflict
    if not work.source.finite:
        merged.conflicts.append(replace(conflict, kind="non-finite"))
        return
    _put(merged, conflict, tensor)
    _resolve(merged, conflict, work.decision.strategy.id)


def _checkpoint(
    store: Store, session: Session, part: CheckpointPlan, leaves: Mapping[str, TensorId]
) -> TreeEntry:
    """Return the entry of a merged model, in the layout of the side that it fits."""
    for entry in part.entries:
        record = store.checkpoint(CheckpointId(entry.id))
        if fits(store, record, leaves):
            return in_layout(session, entry, record, leaves)
    return composed(store, session, part.entries[0], leaves)
