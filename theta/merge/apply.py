"""The values of a merge: strategies run over what the plan left open.

Owns the run over all tensors and the records of merged checkpoints. Must not know what a tensor is
computed from, nor refs, the workspace or the terminal. Memory is bounded by the chunks in flight.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from theta.checkpoint import composed, fits, in_layout
from theta.merge.ahead import prepared_ahead
from theta.merge.decisions import Decided, Decision
from theta.merge.documents import DocumentPlan
from theta.merge.finished import Finished
from theta.merge.held import Held
from theta.merge.method import Method
from theta.merge.outlet import Outlet, Spec, Teed, expected_layout
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
from theta_store.store import Session, Source, Store, ranges_of

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
    outlet: Outlet | None = None,
) -> Merged:
    """Run the decided strategies; what none settles stays a conflict.

    Where conflicts are left already, nothing is computed. ``outlet`` gets what is computed, in the
    layout that the merged model is expected to have.
    """
    merged = Merged(dict(plan.entries), list(decided.left), list(plan.resolved), decided.decisions)
    merged.leaves = {part.path: dict(part.leaves) for part in plan.checkpoints}
    works = [
        work_of(store, plan, decision, method)
        for decision in decided.decisions
        if not _picked(merged, decision)
    ]
    if not merged.conflicts:
        run = _Run(session, merged, finished or Finished(store, None), progress, outlet)
        run.compute(store, plan, works)
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


@dataclass(frozen=True)
class _Run:
    """The computing of all tensors: where from, where to."""

    session: Session
    merged: Merged
    finished: Finished
    progress: Progress
    outlet: Outlet | None

    def compute(self, store: Store, plan: Plan, works: Sequence[Work]) -> None:
        """Compute what no earlier try has finished, and put it."""
        self.progress.begin("merging", sum(work.size for work in works))
        left = [work for work in works if not self._found(work)]
        if self.outlet is not None:
            self.outlet.begin(*_expected(store, plan, self.merged, left))
        held = Held(self.session.limits.memory // 2)
        for work in left:
            if isinstance(work.source, MergedSource):
                work.source.held = held
        items = ((f"{number}", source) for number, source in enumerate(self._sources(left)))
        hints = [work.hints for work in left]
        for stored in self.session.put_tensors(items, hints=lambda name: hints[int(name)]):
            self._stored(left[int(stored.name)], stored.id)
        self.finished.settle(self.session)

    def _found(self, work: Work) -> bool:
        """Take what an interrupted try has computed; say whether there was something."""
        tensor = self.finished.find(work.key)
        if tensor is None:
            return False
        _take(self.merged, work, tensor)
        self.merged.reused += 1
        self.progress.advance(work.size)
        return True

    def _sources(self, works: Sequence[Work]) -> Iterator[Source]:
        sources = prepared_ahead([work.source for work in works], self.session.limits.threads)
        for work, source in zip(works, sources, strict=True):
            sink = None
            if self.outlet is not None and work.told and isinstance(source, MergedSource):
                conflict = work.decision.conflict
                sink = self.outlet.sink(conflict.path, work.names)
                ranges = ranges_of(source.values.records[0])
            yield source if sink is None else Teed(source, sink, ranges)

    def _stored(self, work: Work, tensor: TensorId) -> None:
        work.source.release()
        self.merged.computed += 1
        self.progress.advance(work.size)
        if work.source.finite:
            self.finished.add(self.session, work.key, tensor, work.size)
        if self.outlet is not None:
            self.outlet.settle(work.decision.conflict.path, work.names, tensor)
        _take(self.merged, work, tensor)


def _expected(
    store: Store, plan: Plan, merged: Merged, works: Sequence[Work]
) -> tuple[dict[str, TreeEntry], dict[str, set[str]]]:
    """Return the entry in whose layout each model will probably be, and the names computed."""
    made: dict[str, dict[str, Spec]] = {}
    for work in works:
        if work.told:
            spec = work.source.dtype, work.source.shape
            found = made.setdefault(work.decision.conflict.path, {})
            found |= dict.fromkeys(work.names, spec)
    entries = {part.path: part.entries for part in plan.checkpoints}
    layouts = {
        path: entry
        for path, specs in made.items()
        if (entry := expected_layout(store, entries[path], merged.leaves[path], specs))
    }
    return layouts, {path: set(made[path]) for path in layouts}


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
