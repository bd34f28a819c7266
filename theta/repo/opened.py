"""An open repository: its store, workspace and configuration, and what all verbs need.

Owns opening and closing, finding commits and files, and the session that is run again when gc got
in between. Must not hold a verb.
"""

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from theta.config import Config
from theta.diff import build_tree, flatten_tree
from theta.merge import pending
from theta.revision import (
    resolve_revision,
)
from theta_store.clock import UNTIMED, Clock
from theta_store.errors import (
    DiskFull,
    NotARepository,
    ThetaError,
    UnknownFile,
    UnsavedChanges,
    UsageError,
)
from theta_store.ids import CommitId, TreeId, short
from theta_store.limits import Limits
from theta_store.records import Commit, TreeEntry
from theta_store.store import (
    BRANCHES,
    Head,
    Operation,
    RefChange,
    Store,
    is_unfinished,
)

if TYPE_CHECKING:
    from theta.workspace import Entries, Workspace
    from theta_store.store import Session

PRIVATE = ".theta"
STORE = "store"
POINTER = "store-path"
CONFIG = "config.toml"
MERGE_FILE = "merge.json"
DEFAULT_BRANCH = "main"
TRIES = 5
NO_SPACE = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

T = TypeVar("T")


class Opened:
    """An open repository; use it as a context manager or call `close`.

    ``limits`` are the threads and the memory to use, otherwise those of the configuration.
    """

    def __init__(
        self,
        root: Path,
        *,
        global_config: Path | None = None,
        limits: Limits | None = None,
        readonly: bool = False,
    ) -> None:
        self.root = root
        self.private = root / PRIVATE
        self.config = Config(global_config, self.private / CONFIG)
        self.limits = limits or self.config.limits()
        folder = _store_folder(self.private)
        self.store = Store(folder, limits=self.limits, readonly=readonly)

    @cached_property
    def workspace(self) -> "Workspace":
        """The user's files, for the verbs that look at them."""
        from theta.workspace import Workspace

        return Workspace(self.root, self.private, self.store)

    @classmethod
    def init(cls, root: Path, *, store: Path | None = None, force_network: bool = False) -> Self:
        """Make a repository in ``root`` with its store in ``.theta`` or in ``store``, and open it.

        A folder that is one already is opened as it is; one whose making was cut short is finished.
        A store that is there already is shared: branches and HEAD are those of all its workspaces.
        """
        root = root.absolute()
        private = root / PRIVATE
        try:
            private.mkdir(parents=True, exist_ok=True)
            was_there = _make(private, store, force_network=force_network)
        except OSError as error:
            if isinstance(error, DiskFull) or error.errno in NO_SPACE:
                raise DiskFull(
                    f"disk full while making {private}; it is not finished",
                    hint="free some space, then theta init again",
                ) from None
            raise
        made = cls(root)
        if was_there:
            # Of what HEAD has, if it can be read, nothing was ever checked out here.
            with suppress(ThetaError):
                made.workspace.leave_out(made.entries(made.head.commit))
        return made

    @classmethod
    def open(cls, path: Path = Path(), *, global_config: Path | None = None) -> Self:
        """Open the repository of a folder or of the nearest one above it."""
        start = path.absolute()
        for folder in (start, *start.parents):
            if (folder / PRIVATE).is_dir():
                return cls(folder, global_config=global_config)
        raise NotARepository(f"no theta repository in {start} or above it", hint="theta init")

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    @property
    def head(self) -> Head:
        """Where HEAD is."""
        return self.store.refs.head()

    def resolve(self, revision: str) -> CommitId:
        """Return the commit that a revision names."""
        return resolve_revision(self.store, revision, directions=self.config.directions())

    def entries(self, commit: CommitId | None) -> dict[str, TreeEntry]:
        """Return the files of a commit by path."""
        if commit is None:
            return {}
        self.store.tree_of(commit)
        return dict(flatten_tree(self.store, self.store.commit(commit).tree))

    def entry(self, commit: CommitId, path: str | None) -> tuple[str, TreeEntry]:
        """Return a file of a commit; without a path, its only checkpoint.

        A sharded model also answers to its folder and to the name of any of its files.
        """
        entries = self.entries(commit)
        if path is None:
            return _only_checkpoint(commit, entries)
        if path in entries:
            return path, entries[path]
        inside = {p: e for p, e in entries.items() if p.startswith(path.rstrip("/") + "/")}
        models = [(p, e) for p, e in inside.items() if e.kind == "checkpoint"]
        if len(models) == 1:
            return models[0]
        for owner, entry in entries.items():
            if path in self.workspace.parts(owner, entry):
                return owner, entry
        raise UnknownFile(
            f"{short(commit)} holds no file {path!r}", hint=f"theta ls {short(commit)}"
        )

    def _retried(
        self,
        work: "Callable[[Session], T]",
        clock: Clock = UNTIMED,
        *,
        verify: bool = False,
        discards: bool = False,
    ) -> T:
        """Run work in a session, again when gc took what it shared.

        With ``verify`` what is put is stored again where the store has it, but damaged. With
        ``discards`` it stores what is about to be overwritten, and a `DiskFull` says so.
        """
        from theta_store.store import CollectedMeanwhile

        for attempt in range(TRIES):
            try:
                with self.store.session(clock=clock, verify=verify) as session:
                    return work(session)
            except DiskFull as error:
                if not discards:
                    raise
                raise DiskFull(
                    f"{error}; what would be overwritten is stored first, for undo",
                    hint="theta gc --now, or delete the changed files for good and try again",
                ) from None
            except CollectedMeanwhile:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def _check_not_merging(self) -> None:
        waiting = pending.load(self.private / MERGE_FILE)
        if waiting is not None:
            raise UnsavedChanges(
                f"the merge of {waiting.label} waits for its commit; nothing was changed",
                hint="theta commit -m MESSAGE, or theta merge --abort",
            )

    def _save(
        self, session: "Session", entries: "Entries", written: "Entries | None" = None
    ) -> CommitId:
        """Store what is about to be overwritten as a commit that only the operation names.

        What takes its place, if no commit has it, is a commit as well: the second parent.
        """
        head = self.head.commit
        parents: tuple[CommitId, ...] = () if head is None else (head,)
        if written and parents:
            parents = (*parents, _unnamed(session, written, parents, "files as they were written"))
        told = "files as they were before they were overwritten"
        id_ = _unnamed(session, entries, parents, told)
        session.flush()
        return id_

    def _written(self, saved: CommitId) -> dict[str, TreeEntry]:
        """Return what took the place of files that `_save` stored, if it was stored with them."""
        parents = self.store.commit(saved).parents
        return self.entries(parents[1]) if len(parents) == 2 else {}

    def _publish(self, verb: str, summary: str, *changes: RefChange, dry_run: bool = False) -> None:
        if dry_run:
            return
        with self.store.session() as session:
            session.publish(Operation(0, 0, verb, summary, changes))

    def _parts(self, entries: "Entries") -> tuple[str, ...]:
        """Return the paths of the files that entries stand for."""
        return tuple(p for path, e in entries.items() for p in self.workspace.parts(path, e))


def _make(private: Path, store: Path | None, *, force_network: bool) -> bool:
    """Make the store of a repository that has none; say if one was there to be shared.

    A workspace that was in use has one, and so has one with a pointer, which is written once the
    store is there: where it is not found, it is a disk away.
    """
    pointed = _pointed(private)
    folder = pointed or private / STORE
    wanted = folder if store is None else store.absolute()
    if _is_used(private) or is_store(folder):
        if wanted != folder:
            raise UsageError(
                f"the store of this repository is {folder}; nothing was changed",
                hint="make the other workspace in a folder of its own",
            )
        return False
    if pointed == wanted:
        return False
    was_there = is_store(wanted)
    if not was_there:
        Store.create(wanted, head=BRANCHES + DEFAULT_BRANCH, force_network=force_network).close()
    if wanted != private / STORE:
        # Last: a place that will not do must not be remembered.
        (private / POINTER).write_text(str(wanted))
    return was_there


def _is_used(private: Path) -> bool:
    """Say whether a workspace has state of its own: something was tracked or looked at."""
    return any(entry.name not in {POINTER, STORE, CONFIG} for entry in private.iterdir())


def is_repository(root: Path) -> bool:
    """Say whether a folder is a repository whose making was finished."""
    private = root / PRIVATE
    return private.is_dir() and is_store(_pointed(private) or private / STORE)


def is_store(folder: Path) -> bool:
    """Say whether a store was made in a folder, and finished."""
    return (folder / "meta").is_dir() and not is_unfinished(folder)


def _unnamed(
    session: "Session", entries: "Entries", parents: tuple[CommitId, ...], message: str
) -> CommitId:
    """Put a commit of files; no ref will name it."""
    tree = build_tree(entries, lambda tree: TreeId(session.put_record(tree)))
    commit = Commit(tree, parents, "theta", time.time_ns() // 1000, 0, message)
    return CommitId(session.put_record(commit))


def _store_folder(private: Path) -> Path:
    pointed = _pointed(private)
    folder = pointed or private / STORE
    if (folder / "meta").is_dir():
        return folder
    if pointed is not None or _is_used(private):
        raise NotARepository(
            f"the store of this repository was at {folder}, which is gone",
            hint=f"mount it again, or write its new place into {private / POINTER}",
        )
    raise NotARepository(f"the repository in {private} is not finished", hint="theta init")


def _pointed(private: Path) -> Path | None:
    """Return where the store lies, if it is somewhere else; an empty pointer was cut short."""
    pointer = private / POINTER
    text = pointer.read_text().strip() if pointer.exists() else ""
    return Path(text) if text else None


def _only_checkpoint(commit: CommitId, entries: "Entries") -> tuple[str, TreeEntry]:
    found = [(path, entry) for path, entry in entries.items() if entry.kind == "checkpoint"]
    if len(found) != 1:
        some = ", ".join(path for path, _ in found[:5]) or "none"
        raise UnknownFile(
            f"{short(commit)} holds {len(found)} checkpoints ({some}): name one",
            hint="REV:FILE::PARAM",
        )
    return found[0]
