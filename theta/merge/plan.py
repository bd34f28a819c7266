"""The plan of a merge: what ids alone settle, and what is left open.

Owns the walk over files and parameters of all sides and their base. Must not read a tensor's bytes,
nor know strategies' arithmetic.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from theta.checkpoint import named_leaves
from theta.merge.alignment import Alignment
from theta.merge.documents import DocumentPlan, JsonPlan, open_document
from theta.merge.json_keys import Json
from theta.merge.renames import under_new_names
from theta.merge.tokenizers import tokenizer_plan
from theta.merge.vocabulary import Vocabulary
from theta.strategies import ConflictKind
from theta.terms import ABSENT, OPEN, Absent, Terms
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.ids import CheckpointId, CommitId, TensorId
from theta_store.records import TreeEntry
from theta_store.store import Store

Entries = Mapping[str, TreeEntry]
Leaf = TensorId | Absent
FileTerm = TreeEntry | Absent


@dataclass(frozen=True)
class Conflict:
    """A name that nothing has settled: a parameter, or a key of a JSON file.

    ``name`` None is the file as a whole. One of ``leaves``, ``values`` and ``files`` says what the
    sides made of it, ``why`` what was tried in vain. ``ties`` are other names of the same tensor,
    on every side.
    """

    path: str
    name: str | None
    kind: ConflictKind
    leaves: Terms[Leaf] | None = None
    files: Terms[FileTerm] | None = None
    values: Terms[Json | Absent] | None = None
    why: str = ""
    ties: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str | None, ...]:
        """The name and those tied to it."""
        return (self.name, *self.ties)

    @property
    def terms(self) -> Terms[Leaf] | Terms[FileTerm] | Terms[Json | Absent]:
        """What the sides made of it, whatever it is."""
        found = self.leaves or self.files or self.values
        assert found is not None
        return found

    @property
    def key(self) -> tuple[str, str | None]:
        """The file and the name."""
        return self.path, self.name

    def because(self, why: str) -> "Conflict":
        """Return the conflict with what was tried in vain."""
        return replace(self, why=why)


@dataclass(frozen=True)
class Resolution:
    """How a name was settled: by a side, or by a strategy."""

    path: str
    name: str | None
    how: str


@dataclass
class CheckpointPlan:
    """One model on the way: its settled parameters, aliases spelled out as parameters.

    ``entries`` are those of the sides, ours first, whose layout the result may get.
    """

    path: str
    entries: tuple[TreeEntry, ...]
    leaves: dict[str, TensorId] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


@dataclass
class Plan:
    """What a merge will be: of which commits, and the files that are settled.

    ``sides`` are commits, ours first; ``labels`` what they are called. ``bases`` are the merge
    bases in history; where there are several, they were merged first. ``label`` is what was asked
    for, in words. ``entries`` are the files. ``scaled``: what the one other side changed is open
    wherever it has a size, see `theta.merge.scaled`. ``statistics``: the commit that has those
    of each side, by kind. ``files`` are those of the sides and the base,
    ``vocabularies`` the tokenizers among them that were read, by folder. ``align``: how models were
    brought into the order of ours before, ``aligned`` the architecture of each, by path.
    """

    sides: tuple[CommitId, ...]
    labels: tuple[str, ...]
    bases: tuple[CommitId, ...]
    label: str = ""
    entries: dict[str, TreeEntry] = field(default_factory=dict)
    checkpoints: list[CheckpointPlan] = field(default_factory=list)
    documents: list[DocumentPlan] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    resolved: list[Resolution] = field(default_factory=list)
    scaled: bool = False
    statistics: dict[str, tuple[CommitId | None, ...]] = field(default_factory=dict)
    files: Terms[Entries] = field(default_factory=lambda: Terms((), ()))
    vocabularies: dict[str, Terms[Vocabulary] | None] = field(default_factory=dict)
    align: Alignment | None = None
    aligned: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> CommitId:
        """The commit that is merged into."""
        return self.sides[0]

    @property
    def others(self) -> tuple[CommitId, ...]:
        """The commits that are merged."""
        return self.sides[1:]

    @property
    def is_fast_forward(self) -> bool:
        """Whether HEAD only has to move: it is the base of the one commit that is merged."""
        return len(self.sides) == 2 and self.bases == (self.ours,)

    @property
    def stores(self) -> bool:
        """Whether tensors are stored before it is filled: of merged bases, or permuted ones."""
        return len(self.bases) > 1 or self.align is not None

    def file(self, path: str) -> Terms[FileTerm]:
        """Return what every side and the base have at a path."""
        return self.files.map(lambda entries: entries.get(path, ABSENT))

    def who(self, side: int) -> str:
        """Return how an outcome names a side."""
        return {0: "ours", 1: "theirs"}.get(side) or self.labels[side]


def plan_merge(store: Store, plan: Plan, sides: Sequence[Entries], base: Entries) -> Plan:
    """Fill a plan from the files of the sides, ours first, and of their base."""
    plan.files = Terms(tuple(sides), (base,))
    for path in sorted(set(base).union(*sides)):
        terms = Terms(tuple(_file(side, path) for side in sides), (_file(base, path),))
        settled = terms.resolve()
        if settled is OPEN:
            _open(store, plan, path, terms)
            continue
        if settled is not ABSENT:
            plan.entries[path] = settled
        if settled != terms.sides[0]:
            side = terms.sides.index(settled)
            plan.resolved.append(Resolution(path, None, plan.who(side)))
    return plan


def _file(entries: Entries, path: str) -> FileTerm:
    return entries.get(path, ABSENT)


def _open(store: Store, plan: Plan, path: str, terms: Terms[FileTerm]) -> None:
    changed = [side for side in terms.sides if side != terms.bases[0]]
    files = [side for side in changed if side is not ABSENT]
    if len(files) < len(changed):
        plan.conflicts.append(Conflict(path, None, "modify/delete", files=terms))
    elif all(file.kind == "checkpoint" for file in files):
        _open_checkpoint(store, plan, path, terms)
    else:
        _open_document(store, plan, path, terms)


def _open_document(store: Store, plan: Plan, path: str, terms: Terms[FileTerm]) -> None:
    found = open_document(store, path, terms)
    if isinstance(found, str):
        kind: ConflictKind = "add/add" if terms.bases[0] is ABSENT else "content"
        plan.conflicts.append(Conflict(path, None, kind, files=terms, why=found))
        return
    if isinstance(found, JsonPlan):
        found = tokenizer_plan(found) or found
    plan.documents.append(found)
    plan.resolved.append(Resolution(path, None, found.how))
    for key in found.opened():
        plan.conflicts.append(Conflict(path, key.name, _kind_of_key(key.values), values=key.values))


def _kind_of_key(values: Terms[Json | Absent]) -> ConflictKind:
    if any(side is ABSENT and side != values.bases[0] for side in values.sides):
        return "modify/delete"
    return "add/add" if values.bases[0] is ABSENT else "content"


def _open_checkpoint(store: Store, plan: Plan, path: str, terms: Terms[FileTerm]) -> None:
    found, renamed = under_new_names(terms.map(lambda file: _leaves(store, file)))
    names = sorted(set().union(*found.sides, *found.bases))
    entries = tuple(s for s in terms.sides if s is not ABSENT and s.kind == "checkpoint")
    part = CheckpointPlan(path, entries, names=frozenset(names))
    plan.checkpoints.append(part)
    opened: dict[Terms[Leaf], list[str]] = {}
    for name in names:
        leaf: Terms[Leaf] = _at(found, name)
        settled = leaf.resolve()
        if settled is OPEN:
            opened.setdefault(leaf, []).append(name)
            continue
        if settled is not ABSENT:
            part.leaves[name] = settled
        side = leaf.sides.index(settled) or renamed.get(name, 0)
        if side:
            plan.resolved.append(Resolution(path, name, plan.who(side)))
    tied = _tied(store, entries)
    plan.conflicts += sorted(
        (c for leaf, group in opened.items() for c in _conflicts(store, path, leaf, group, tied)),
        key=lambda conflict: conflict.name or "",
    )


def _leaves(store: Store, file: FileTerm) -> Mapping[str, TensorId]:
    if file is ABSENT or file.kind != "checkpoint":
        return {}
    return named_leaves(store, file)


def _at(found: Terms[Mapping[str, TensorId]], name: str) -> Terms[Leaf]:
    def leaf(leaves: Mapping[str, TensorId]) -> Leaf:
        return leaves.get(name, ABSENT)

    return found.map(leaf)


def _conflicts(
    store: Store, path: str, leaf: Terms[Leaf], names: Sequence[str], tied: frozenset[str]
) -> Iterator[Conflict]:
    """Yield a conflict for each name; names that are tied on every side share one."""
    kind = _kind(store, leaf)
    together = [name for name in names if name in tied]
    for name in [*together[:1], *(name for name in names if name not in tied)]:
        ties = tuple(together[1:]) if name in together else ()
        yield Conflict(path, name, kind, leaf, ties=ties)


def _tied(store: Store, entries: Sequence[TreeEntry]) -> frozenset[str]:
    """Return the names that are tied to another on every side."""
    both = []
    for entry in entries:
        aliases = store.checkpoint(CheckpointId(entry.id)).aliases
        both.append(aliases.keys() | set(aliases.values()))
    return frozenset(set.intersection(*both)) if both else frozenset()


def _kind(store: Store, terms: Terms[Leaf]) -> ConflictKind:
    changed = [side for side in terms.sides if side != terms.bases[0]]
    tensors = [store.tensor(side) for side in changed if side is not ABSENT]
    if len(tensors) < len(changed):
        return "modify/delete"
    if len({tensor.shape for tensor in tensors}) > 1:
        return "shape"
    if len({tensor.dtype for tensor in tensors}) > 1:
        return "dtype"
    if not is_computable(dtype(tensors[0].dtype)):
        return "non-float"
    return "add/add" if terms.bases[0] is ABSENT else "content"
