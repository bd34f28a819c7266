"""Who takes the bytes of a store: each owner's own, and what it shares with others.

Owns the walk that numbers every record and chunk once and the count of its owners. Must not know
refs' meaning nor the operation log: what only the log reaches is nobody's here.

Stored bytes = payloads of forms and rows of records. An owner's share is what its records reach,
bases of forms included, and of a cluster the share of its pieces; but not a commit's parents: those
are owners of their own.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from theta_store import expiries
from theta_store.clusters import parts_below
from theta_store.db import Reader, Table
from theta_store.errors import MissingObject
from theta_store.forms import Need
from theta_store.ids import ChunkId, CommitId, ParamsId, RecordId, TreeId, short
from theta_store.objects import find_form, get_record, need_chunks
from theta_store.predictors import PIECES, SAME
from theta_store.records import Blob, Checkpoint, Commit, Params, Tensor, Tree, references
from theta_store.refs import BRANCHES, HEAD, read_head, read_refs

By: TypeAlias = Literal["branch", "commit", "file", "param"]
Numbers: TypeAlias = AbstractSet[int]

_NOBODY, _MANY = -1, -2


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom bytes are counted for; None where a part does not apply.

    A ``path`` without ``name`` is the file, or what of it belongs to no parameter; nothing at all
    is the rest: commits, folders, other refs.
    """

    branch: str | None = None
    commit: CommitId | None = None
    path: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Stored bytes that only one owner reaches, and those that it reaches with others."""

    owner: Owner
    exclusive: int
    shared: int


@dataclass(frozen=True)
class Usage:
    """Each owner's use; ``reachable`` = the sum of all exclusive bytes + ``shared``, counted once.

    ``elsewhere`` are bytes of other commits alone, where one commit was asked for.
    """

    rows: tuple[Use, ...]
    reachable: int
    shared: int
    elsewhere: int = 0


REST = Owner()
_ELSEWHERE = Owner(branch="", path="")


def usage(reader: Reader, by: By, commit: CommitId | None = None) -> Usage:
    """Count the stored bytes of all unexpired commits that refs reach, owner by owner.

    ``commit`` restricts files and parameters to those of one commit; then what another commit
    reaches as well is shared.
    """
    objects = _Objects(reader, expiries.expired(reader))
    history = _History(reader)
    match by:
        case "branch":
            owners = _branches(objects, history)
        case "commit":
            owners = _commits(objects, history)
        case "file" | "param":
            owners = _parts(objects, history, commit, params=by == "param")
    return _tally(objects, owners)


def _tally(objects: "_Objects", owners: Iterator[tuple[Owner, Numbers]]) -> Usage:
    owner_of: list[int] = []
    names: list[Owner] = []
    reached: list[int] = []
    for owner, numbers in owners:
        this = len(names)
        names.append(owner)
        reached.append(sum(map(objects.sizes.__getitem__, numbers)))
        owner_of += [_NOBODY] * (len(objects.sizes) - len(owner_of))
        for number in numbers:
            owner_of[number] = this if owner_of[number] == _NOBODY else _MANY
    exclusive, shared = [0] * len(names), 0
    for size, owner_number in zip(objects.sizes, owner_of, strict=False):
        if owner_number >= 0:
            exclusive[owner_number] += size
        elif owner_number == _MANY:
            shared += size
    rows = [
        Use(owner, mine, whole - mine)
        for owner, mine, whole in zip(names, exclusive, reached, strict=True)
    ]
    elsewhere = sum(row.exclusive for row in rows if row.owner is _ELSEWHERE)
    kept = tuple(row for row in rows if row.owner is not _ELSEWHERE)
    return Usage(kept, sum(exclusive) + shared - elsewhere, shared, elsewhere)


class _History:
    """The commits that refs and HEAD reach."""

    def __init__(self, reader: Reader) -> None:
        refs: dict[str, CommitId] = read_refs(reader, "refs/")
        head = read_head(reader)
        self.branches = {n: c for n, c in refs.items() if n.startswith(BRANCHES)}
        others = {n: c for n, c in refs.items() if not n.startswith(BRANCHES)}
        self.others = others if head.commit is None else {**others, HEAD: head.commit}
        self.commits: dict[CommitId, Commit] = {}
        self._reader = reader
        for tip in {**self.others, **self.branches}.values():
            self._read(tip)

    def _read(self, tip: CommitId) -> None:
        stack = [tip]
        while stack:
            id_ = stack.pop()
            if id_ not in self.commits:
                record = get_record(self._reader, id_)
                assert isinstance(record, Commit)
                self.commits[id_] = record
                stack += record.parents

    def of(self, tips: Iterable[CommitId]) -> set[CommitId]:
        """Return the tips and their ancestors."""
        found: set[CommitId] = set()
        stack = list(tips)
        while stack:
            id_ = stack.pop()
            if id_ not in found:
                found.add(id_)
                stack += self.commits[id_].parents
        return found


@dataclass(frozen=True, slots=True)
class _Node:
    """A record: the numbers of itself and its chunks, and the records below it."""

    own: frozenset[int]
    below: tuple[RecordId, ...]


class _Objects:
    """Numbers every record and chunk, each read once, and says what a record reaches."""

    def __init__(self, reader: Reader, expired: AbstractSet[CommitId]) -> None:
        self.reader = reader
        self.expired = expired
        self.sizes: list[int] = []
        self._numbers: dict[bytes, int] = {}
        self._with_needs: dict[int, frozenset[int]] = {}
        self._nodes: dict[RecordId, _Node] = {}
        # What was asked for since the last turn, and before it: commits share most of their trees.
        self._new: dict[RecordId, Numbers] = {}
        self._old: dict[RecordId, Numbers] = {}

    def turn(self) -> None:
        """Forget what was not asked for since the last turn."""
        self._old, self._new = self._new, {}

    def alone(self, id_: RecordId) -> int:
        """Return the number of a record."""
        self._node(id_)
        return self._numbers[id_]

    def reached(self, root: RecordId) -> Numbers:
        """Return the numbers of a record and of all below it; an expired commit has no tree."""
        stack = [root]
        while stack:
            id_ = stack[-1]
            if self._known(id_) is None:
                node = self._node(id_)
                todo = [below for below in node.below if self._known(below) is None]
                if todo:
                    stack += todo
                    continue
                self._new[id_] = node.own.union(*(self._new[below] for below in node.below))
            stack.pop()
        return self._new[root]

    def _known(self, id_: RecordId) -> Numbers | None:
        found = self._new.get(id_)
        if found is None and id_ in self._old:
            found = self._new[id_] = self._old[id_]
        return found

    def _node(self, id_: RecordId) -> _Node:
        node = self._nodes.get(id_)
        if node is None:
            node = self._nodes[id_] = self._read(id_)
        return node

    def _read(self, id_: RecordId) -> _Node:
        record = get_record(self.reader, id_)
        own = {self._number(id_)}
        if isinstance(record, Tensor | Blob):
            for chunk in record.chunks:
                own |= self._chunk(chunk)
        below = references(record)
        if isinstance(record, Commit):
            below = [] if id_ in self.expired else below[: len(below) - len(record.parents)]
        return _Node(frozenset(own), tuple(dict.fromkeys(below)))

    def _number(self, id_: RecordId) -> int:
        if id_ not in self._numbers:
            value = self.reader.get(Table.RECORDS, id_)
            self._add(id_, 0 if value is None else len(value))
        return self._numbers[id_]

    def _chunk(self, id_: ChunkId) -> AbstractSet[int]:
        """Return the numbers of a chunk and of what its form is decoded from."""
        number = self._numbers.get(id_)
        if number is not None:
            return self._with_needs.get(number) or {number}
        form = find_form(self.reader, id_)
        if form is None:
            raise MissingObject(f"chunk {short(id_)} is missing", hint="theta fsck")
        number = self._add(id_, form.stored)
        found = {number}
        for need in form.needs:
            if not form.has_payload:
                found |= self._part(need)
                continue
            if need.kind == "tensor":
                found.add(self._number(RecordId(need.id)))
            for chunk in need_chunks(self.reader, need):
                found |= self._chunk(chunk)
        if len(found) > 1:
            self._with_needs[number] = frozenset(found)
        return found

    def _part(self, part: Need) -> AbstractSet[int]:
        """Return the numbers of a part of a cluster, and of what that was guessed from.

        Its size is its share of the cluster's stored bytes.
        """
        key = b"%b %d %d" % (part.id, part.start, part.stop)
        number = self._numbers.get(key)
        if number is not None:
            return self._with_needs[number]
        form = find_form(self.reader, ChunkId(part.id))
        if form is None:
            raise MissingObject(f"chunk {short(part.id)} is missing", hint="theta fsck")
        found = {number := self._add(key, round(form.share(part.start, part.stop)))}
        if form.predictor in {SAME, PIECES}:
            for below in parts_below(form, part.start, part.stop):
                found |= self._part(below)
        self._with_needs[number] = frozenset(found)
        return found

    def _add(self, id_: bytes, size: int) -> int:
        self._numbers[id_] = number = len(self.sizes)
        self.sizes.append(size)
        return number


def _commits(objects: _Objects, history: _History) -> Iterator[tuple[Owner, Numbers]]:
    for id_ in history.commits:
        if id_ not in objects.expired:
            yield Owner(commit=id_), objects.reached(id_)
            objects.turn()
    yield REST, {objects.alone(id_) for id_ in history.commits if id_ in objects.expired}


def _branches(objects: _Objects, history: _History) -> Iterator[tuple[Owner, Numbers]]:
    # Whatever a commit shares with its parent, the parent's branch has as well: only the steps
    # between them have to be joined.
    steps: dict[CommitId, Numbers] = {}
    for id_, commit in history.commits.items():
        before = objects.reached(commit.parents[0]) if commit.parents else frozenset()
        steps[id_] = objects.reached(id_) - before
        objects.turn()
    for name, tip in history.branches.items():
        numbers = set[int]().union(*(steps[id_] for id_ in history.of([tip])))
        yield Owner(branch=name.removeprefix(BRANCHES)), numbers
    branched = history.of(history.branches.values())
    others = history.of(history.others.values())
    if not others <= branched:
        yield REST, set[int]().union(*(steps[id_] for id_ in others))


@dataclass
class _Roots:
    """What an owner names: records with all below them, and records for themselves."""

    deep: set[RecordId] = field(default_factory=set)
    alone: set[RecordId] = field(default_factory=set)

    def numbers(self, objects: _Objects) -> Numbers:
        """Return all that is reached."""
        found = {objects.alone(id_) for id_ in self.alone}
        return found.union(*(objects.reached(id_) for id_ in self.deep))


def _parts(
    objects: _Objects, history: _History, only: CommitId | None, *, params: bool
) -> Iterator[tuple[Owner, Numbers]]:
    walk = _Parts(objects.reader, params=params)
    for id_, commit in history.commits.items():
        if only in {None, id_}:
            walk.rest.alone.add(id_)
            if id_ not in objects.expired:
                walk.commit(commit)
    for owner, roots in walk.roots.items():
        yield owner, roots.numbers(objects)
    if only is not None:
        yield _ELSEWHERE, _elsewhere(objects, history, only)


def _elsewhere(objects: _Objects, history: _History, only: CommitId) -> Numbers:
    found: set[int] = set()
    for id_ in history.commits:
        if id_ != only:
            found |= objects.reached(id_)
            objects.turn()
    return found


class _Parts:
    """Collects the roots of files or parameters; a tree met again at the same place is skipped."""

    def __init__(self, reader: Reader, *, params: bool) -> None:
        self.rest = _Roots()
        self.roots: dict[Owner, _Roots] = {REST: self.rest}
        self._reader = reader
        self._params = params
        self._seen: set[tuple[str, str, RecordId]] = set()

    def commit(self, commit: Commit) -> None:
        """Take a commit's files."""
        if commit.recipe is not None:
            self.rest.deep.add(commit.recipe)
        stack = [("", commit.tree)]
        while stack:
            prefix, id_ = stack.pop()
            if self._met(prefix, "", id_):
                continue
            self.rest.alone.add(id_)
            tree = get_record(self._reader, id_)
            assert isinstance(tree, Tree)
            for entry in tree.entries:
                if entry.kind == "tree":
                    stack.append((f"{prefix}{entry.name}/", TreeId(entry.id)))
                elif not self._met(prefix + entry.name, "", entry.id):
                    self._file(prefix + entry.name, entry.kind, entry.id)

    def _file(self, path: str, kind: str, id_: RecordId) -> None:
        roots = self._of(Owner(path=path))
        if kind == "blob" or not self._params:
            roots.deep.add(id_)
            return
        checkpoint = get_record(self._reader, id_)
        assert isinstance(checkpoint, Checkpoint)
        roots.alone.add(id_)
        roots.deep.update(file.layout for file in checkpoint.files)
        stack = [("", checkpoint.params)]
        while stack:
            prefix, node = stack.pop()
            if not self._met(path, prefix, node):
                roots.alone.add(node)
                stack += self._node(path, prefix, node)

    def _node(self, path: str, prefix: str, id_: ParamsId) -> list[tuple[str, ParamsId]]:
        params = get_record(self._reader, id_)
        assert isinstance(params, Params)
        for entry in params.entries:
            if entry.tensor is not None:
                self._of(Owner(path=path, name=prefix + entry.component)).deep.add(entry.tensor)
        return [(f"{prefix}{e.component}.", e.params) for e in params.entries if e.params]

    def _of(self, owner: Owner) -> _Roots:
        return self.roots.setdefault(owner, _Roots())

    def _met(self, path: str, prefix: str, id_: RecordId) -> bool:
        key = (path, prefix, id_)
        if key in self._seen:
            return True
        self._seen.add(key)
        return False
