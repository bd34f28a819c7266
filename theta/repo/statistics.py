"""Statistics of commits: kept beside the history, found when a merge asks for them.

Owns the hidden refs ``refs/stats/KIND/COMMIT``, which name ordinary commits (`theta.merge.evidence`
says what is in them), and what a statistic must be to fit its model. Must not know how statistics
are collected, nor the terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.revision import MIN_HEX
from theta_store.errors import NotFound, UnknownRevision, UsageError
from theta_store.ids import CommitId, RecordId, hex_id, short
from theta_store.records import TreeEntry
from theta_store.store import HEAD, Operation, RefChange, Store

if TYPE_CHECKING:
    from theta.merge import Account, Note
    from theta_store.store import Session

Kind = Literal["fisher", "gram"]
KINDS: tuple[Kind, ...] = ("fisher", "gram")
STATISTICS = "refs/stats/"
SHOWN = 5

Make = Callable[["Session", str], "tuple[TreeEntry, Note]"]


class Kept(msgspec.Struct, frozen=True):
    """A statistic that is kept: of which commit, in which one, and what that says of itself."""

    kind: str
    commit: CommitId
    id: CommitId
    account: "Account"


class Statistics(msgspec.Struct, frozen=True):
    """The statistics of a repository; every change is one operation, which undo takes back."""

    repo: Opened
    retried: Callable[[Callable[["Session"], CommitId]], CommitId]

    def add(
        self,
        kind: str,
        source: Path,
        revision: str = HEAD,
        *,
        file: str | None = None,
        examples: int = 1,
        progress: Progress = SILENT,
    ) -> Kept:
        """Keep a statistic of a commit's model, read from a file of arrays by parameter name.

        ``fisher``: arrays of the parameters' shapes; ``gram``: inputs × inputs, for parameters
        with two axes. Values are means over ``examples``, which weigh them in a sum. ``file`` is
        the model, where the commit has several. What does not fit is a `UsageError`.
        """
        if examples < 1:
            raise UsageError(f"--examples {examples}: at least one is expected")

        def make(session: "Session", path: str) -> "tuple[TreeEntry, Note]":
            taken = self.repo.workspace.take_as(source, path, session, {}, progress)
            entry = taken.entries.get(path)
            if entry is None or entry.kind != "checkpoint":
                raise UsageError(f"{source.name} holds no arrays with names")
            return entry, self._note(session, entry, kind, examples, source.name, None)

        return self._keep(kind, revision, file, make)

    def compute(
        self,
        kind: Kind,
        model: Any,
        loader: Any,
        revision: str = HEAD,
        *,
        file: str | None = None,
        **options: Any,
    ) -> Kept:
        """Compute a statistic of a module of torch from examples, and keep it for a commit.

        The module's values should be the commit's; for ``options`` see `theta.statistics.compute`.
        """
        from theta.merge import entry_of
        from theta.statistics import compute

        made = compute(kind, model, loader, **options)

        def make(session: "Session", path: str) -> "tuple[TreeEntry, Note]":
            from theta_store.array_source import ArraySource

            sources = {name: ArraySource.of(values) for name, values in made.values.items()}
            stored = session.put_tensors(sources.items())
            entry = entry_of(
                self.repo.store, session, path, {each.name: each.id for each in stored}
            )
            return entry, self._note(session, entry, kind, made.examples, "computed", made.labels)

        return self._keep(kind, revision, file, make)

    def list(self, revision: str | None = None) -> tuple[Kept, ...]:
        """Return what is kept, of one commit or of all."""
        from theta.merge import account_of

        wanted = None if revision is None else self._commit(revision)
        found = []
        for (kind, of), id_ in self._refs().items():
            if wanted in {None, of}:
                found.append(Kept(kind, of, id_, account_of(self.repo.store.commit(id_))))
        return tuple(found)

    def _refs(self) -> dict[tuple[str, CommitId], CommitId]:
        """Return the commits of statistics by kind and by the commit that they are of."""
        found = {}
        for name, id_ in self.repo.store.refs.all(STATISTICS).items():
            kind, _, commit = name.removeprefix(STATISTICS).partition("/")
            found[kind, CommitId(RecordId(bytes.fromhex(commit)))] = id_
        return found

    def _commit(self, revision: str) -> CommitId:
        """Return the commit of a revision; gc may have taken it, so its statistics count too."""
        try:
            return self.repo.resolve(revision)
        except UnknownRevision:
            found = {of for _, of in self._refs() if hex_id(of).startswith(revision)}
            if len(revision) < MIN_HEX or len(found) != 1:
                raise
            return found.pop()

    def find(self, kind: str, revision: str = HEAD) -> Kept | None:
        """Return a statistic of a commit, if it is kept."""
        return next((kept for kept in self.list(revision) if kept.kind == kind), None)

    def remove(self, kind: str, revision: str = HEAD, *, dry_run: bool = False) -> Kept:
        """Forget a statistic of a commit; one that is not there is `NotFound`."""
        _check_kind(kind)
        kept = self.find(kind, revision)
        if kept is None:
            raise NotFound(f"{revision} has no {kind}", hint="theta stats list")
        if dry_run:
            return kept
        change = RefChange(ref_of(kind, kept.commit), kept.id, None)
        summary = f"{kind} of {short(kept.commit)}"
        with self.repo.store.session() as session:
            session.publish(Operation(0, 0, "stats remove", summary, (change,)))
        return kept

    def _keep(self, kind: str, revision: str, file: str | None, make: Make) -> Kept:
        from theta.merge import account_of, put_statistic

        _check_kind(kind)
        commit = self.repo.resolve(revision)
        path, model = self.repo.entry(commit, file)
        if model.kind != "checkpoint":
            raise UsageError(f"{path} is a plain file; it has no parameters")
        old = self.repo.store.refs.get(ref_of(kind, commit))

        def work(session: "Session") -> CommitId:
            entry, note = make(session, path)
            entries, notes = {path: entry}, {path: note}
            if old is not None:
                entries = self.repo.entries(old) | entries
                notes = account_of(self.repo.store.commit(old)).models | notes
            self._check(kind, path, model, entry)
            id_ = put_statistic(session, kind, entries, notes)
            change = RefChange(ref_of(kind, commit), old, id_)
            summary = f"{kind} of {short(commit)}"
            session.publish(Operation(0, 0, "stats add", summary, (change,)), commits=[id_])
            return id_

        id_ = self.retried(work)
        return Kept(kind, commit, id_, account_of(self.repo.store.commit(id_)))

    def _check(self, kind: str, path: str, model: TreeEntry, entry: TreeEntry) -> None:
        """Refuse what does not fit the model; all of it is named by one error."""
        from theta.checkpoint import named_leaves

        store = self.repo.store
        own = named_leaves(store, model)
        wrong = []
        for name, id_ in named_leaves(store, entry).items():
            if name not in own:
                wrong.append(f"{name} is no parameter of {path}")
                continue
            shape, wanted = store.tensor(id_).shape, store.tensor(own[name]).shape
            if not _is_of(kind, shape, wanted):
                wrong.append(f"{name} is {_spell(shape)}, the parameter {_spell(wanted)}")
        if wrong:
            more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            raise UsageError(
                f"the {kind} does not fit: {'; '.join(wrong[:SHOWN])}{more}; nothing was changed"
            )

    def _note(
        self,
        session: "Session",
        entry: TreeEntry,
        kind: str,
        examples: int,
        source: str,
        labels: str | None,
    ) -> "Note":
        from theta.merge import Note, norm_of

        session.flush()
        return Note(examples, norm_of(self.repo.store, entry, kind), source, labels)


class Informed(Opened):
    """A repository with its statistics."""

    @cached_property
    def stats(self) -> Statistics:
        """What is known of the data behind commits."""
        return Statistics(self, self._retried)


def ref_of(kind: str, commit: CommitId) -> str:
    """Return the hidden ref of a statistic of a commit."""
    return f"{STATISTICS}{kind}/{hex_id(commit)}"


def statistics_of(
    store: Store, sides: Sequence[CommitId]
) -> dict[str, tuple[CommitId | None, ...]]:
    """Return the commits that have the statistics of these sides, by kind."""
    found = {kind: tuple(store.refs.get(ref_of(kind, side)) for side in sides) for kind in KINDS}
    return {kind: ids for kind, ids in found.items() if any(ids)}


def put_sums(
    store: Store, session: "Session", read: Mapping[str, Sequence[CommitId | None]]
) -> dict[str, CommitId]:
    """Put what a merge knows of the data of its sides, of the kinds that it was made by."""
    from theta.merge import summed

    made = {kind: summed(store, session, kind, ids) for kind, ids in sorted(read.items())}
    return {kind: id_ for kind, id_ in made.items() if id_ is not None}


def _is_of(kind: str, shape: tuple[int, ...], model: tuple[int, ...]) -> bool:
    if kind == "fisher":
        return shape == model
    # A Conv1D of GPT-2 has its inputs first.
    return len(model) == 2 and shape in {(size, size) for size in model}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"{kind} is no kind of statistic: {' or '.join(KINDS)}")


def _spell(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
