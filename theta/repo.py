"""A repository: one method per thing a user does.

Owns the order of steps of each verb: read, check, store, write files, publish. Must not know the
terminal nor the environment: who the author is and where work is reported are arguments.

Every method that moves a ref publishes one operation, which `Repo.undo` takes back.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from theta.config import Config, seconds
from theta.diff import build_tree, diff_trees, flatten_tree
from theta.history import ancestors
from theta.params import find, flatten, match_names
from theta.progress import SILENT, Progress
from theta.revision import (
    Address,
    check_ref_name,
    parse_address,
    resolve_revision,
)
from theta.workspace import Entries, FileState, Workspace
from theta.workspace import tracking as tracked
from theta_store.errors import (
    InvalidName,
    NotARepository,
    NothingToCommit,
    UnknownFile,
    UnknownParameter,
    UnknownRevision,
    UnsavedChanges,
    UsageError,
)
from theta_store.ids import BlobId, CheckpointId, CommitId, TensorId, TreeId, short
from theta_store.records import Checkpoint, Commit, Tensor, Tree, TreeEntry
from theta_store.store import (
    BRANCHES,
    HEAD,
    TAGS,
    CollectedMeanwhile,
    GcReport,
    Head,
    Operation,
    Problem,
    RefChange,
    Session,
    Sizes,
    Store,
)

PRIVATE = ".theta"
STORE = "store"
POINTER = "store-path"
CONFIG = "config.toml"
DEFAULT_BRANCH = "main"
TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Author:
    """Who makes a commit; ``zone`` is the offset from UTC in minutes."""

    name: str
    zone: int = 0


@dataclass(frozen=True)
class Details:
    """What a commit may say beyond its message."""

    amend: bool = False
    allow_empty: bool = False
    rehash: bool = False
    step: int | None = None
    metrics: Mapping[str, float] | None = None
    meta: Mapping[str, str] | None = None
    merged: tuple[CommitId, ...] = ()

    @property
    def may_be_empty(self) -> bool:
        """Whether a commit without a change of files is wanted."""
        return self.allow_empty or self.amend or bool(self.merged)


@dataclass(frozen=True)
class Committed:
    """A new commit, and what it cost."""

    id: CommitId
    commit: Commit
    branch: str | None
    stored_bytes: int
    logical_bytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """The workspace against HEAD."""

    head: Head
    files: tuple[FileState, ...]
    untracked: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every checked-out file is as HEAD has it."""
        return all(file.state == "not checked out" for file in self.files)


@dataclass(frozen=True)
class Moved:
    """Where HEAD went, and the files written by it."""

    head: Head
    written: tuple[str, ...]


class Repo:
    """An open repository; use it as a context manager or call `close`."""

    def __init__(
        self,
        root: Path,
        *,
        global_config: Path | None = None,
        threads: int | None = None,
        readonly: bool = False,
    ) -> None:
        self.root = root
        self.private = root / PRIVATE
        self.config = Config(global_config, self.private / CONFIG)
        wanted = self.config.text("core.threads")
        threads = threads or (int(wanted) if wanted else None)
        self.store = Store(_store_folder(self.private), threads=threads, readonly=readonly)
        self.workspace = Workspace(root, self.private, self.store)

    @classmethod
    def init(cls, root: Path, *, store: Path | None = None, force_network: bool = False) -> "Repo":
        """Make a repository in ``root`` with its store in ``.theta`` or in ``store``, and open it.

        A folder that is one already is opened as it is.
        """
        root = root.absolute()
        private = root / PRIVATE
        if not private.is_dir():
            private.mkdir(parents=True)
            folder = private / STORE if store is None else store.absolute()
            if store is not None:
                (private / POINTER).write_text(str(folder))
            if not (folder / "meta").is_dir():
                head = BRANCHES + DEFAULT_BRANCH
                Store.create(folder, head=head, force_network=force_network).close()
        return cls(root)

    @classmethod
    def open(cls, path: Path = Path(), *, global_config: Path | None = None) -> "Repo":
        """Open the repository of a folder or of the nearest one above it."""
        start = path.absolute()
        for folder in (start, *start.parents):
            if (folder / PRIVATE).is_dir():
                return cls(folder, global_config=global_config)
        raise NotARepository(
            f"no theta repository in {start} or above it", hint="theta init makes one here"
        )

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    # Looking ------------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        """Where HEAD is."""
        return self.store.refs.head()

    def resolve(self, revision: str) -> CommitId:
        """Return the commit that a revision names."""
        return resolve_revision(self.store, revision, directions=self.config.directions())

    def address(self, text: str) -> tuple[CommitId, Address]:
        """Return the commit and the parts of an address; no revision means HEAD."""
        address = parse_address(text)
        return self.resolve(address.revision or HEAD), address

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

    def status(
        self, *, rehash: bool = False, untracked: bool = True, progress: Progress = SILENT
    ) -> Status:
        """Compare the tracked files with HEAD; only changed files are read."""
        head = self.store.refs.head()
        entries = self.entries(head.commit)
        hashing = self.store.hashing()
        present = self.workspace.present(
            entries, hashing, storing=False, rehash=rehash, progress=progress
        )
        files = self.workspace.compare(hashing, entries, present.entries)
        others = tuple(self.workspace.untracked_paths(entries)) if untracked else ()
        return Status(head, files, others, tuple(present.warnings))

    def log(
        self, revisions: Sequence[str] = (), *, count: int | None = None
    ) -> Iterator[tuple[CommitId, Commit]]:
        """Yield commits, children before parents; ``A..B`` leaves out what A has."""
        tips: list[CommitId] = []
        without: list[CommitId] = []
        for revision in revisions or (HEAD,):
            left, dots, right = revision.partition("..")
            if dots:
                without.append(self.resolve(left or HEAD))
            tips.append(self.resolve((right or HEAD) if dots else revision))
        for number, item in enumerate(ancestors(self.store, tips, without=without)):
            if number == count:
                return
            yield item

    def changes(self, commit: CommitId) -> list[tuple[str, str]]:
        """Return the files that a commit changed against its first parent, and how."""
        record = self.store.commit(commit)
        before = self.store.commit(record.parents[0]).tree if record.parents else None
        return [
            (c.path, "added" if c.before is None else "removed" if c.after is None else "changed")
            for c in diff_trees(self.store, before, record.tree)
        ]

    def file_size(self, entry: TreeEntry) -> int:
        """Return the bytes of the files that an entry stands for."""
        return self.workspace.file_size(entry)

    def names(self) -> dict[CommitId, list[str]]:
        """Return the branches and tags of each commit, by their short names."""
        found: dict[CommitId, list[str]] = {}
        for name, commit in self.store.refs.all().items():
            found.setdefault(commit, []).append(name.split("/", 2)[2])
        return found

    def params(
        self, commit: CommitId, path: str | None, globs: Iterable[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters of a checkpoint that match any glob, with their records."""
        path, entry = self.entry(commit, path)
        if entry.kind != "checkpoint":
            raise UsageError(f"{path} is a plain file; it has no parameters")
        matches = match_names(globs)
        record = self.store.checkpoint(CheckpointId(entry.id))
        for name, id_ in flatten(self.store, record.params):
            if matches(name):
                yield name, self.store.tensor(id_)

    def tensor(self, commit: CommitId, path: str | None, name: str) -> Tensor:
        """Return one parameter's record; tied names are followed."""
        path, entry = self.entry(commit, path)
        if entry.kind != "checkpoint":
            raise UsageError(f"{path} is a plain file; it has no parameters")
        record: Checkpoint = self.store.checkpoint(CheckpointId(entry.id))
        found = find(self.store, record.params, record.aliases.get(name, name))
        if found is None:
            raise UnknownParameter(
                f"{path} of {short(commit)} has no parameter {name!r}",
                hint=f"theta ls {short(commit)}:{path}",
            )
        return self.store.tensor(TensorId(found))

    def read_tensor(self, tensor: Tensor) -> bytes:
        """Return a tensor's plain bytes, little-endian, C order."""
        out = bytearray(tensor.nbytes)
        self.store.read_range(tensor, 0, memoryview(out))
        return bytes(out)

    def read_file(self, commit: CommitId, path: str) -> bytes:
        """Return the bytes of a plain file."""
        path, entry = self.entry(commit, path)
        if entry.kind != "blob":
            raise UsageError(
                f"{path} is a checkpoint", hint=f"theta export {short(commit)}:{path} FILE"
            )
        return self.store.read_bytes(BlobId(entry.id))

    # Tracking -----------------------------------------------------------------------------

    def add(self, paths: Iterable[str], *, cwd: Path | None = None) -> list[str]:
        """Start tracking files, folders and globs; return the files that are tracked by it now."""
        self.store.check_writable()
        base = cwd or self.root
        wanted = [self.workspace.relative(base, path) for path in paths]
        self.workspace.set_tracking(tracked.added(self.workspace.tracking, self.root, wanted))
        found = self.workspace.tracked_paths(self.entries(self.head.commit))
        return [path for path in found if any(tracked.covers(w, path) for w in wanted)]

    def remove(
        self, paths: Iterable[str], *, cwd: Path | None = None, delete: bool = False
    ) -> list[str]:
        """Stop tracking files; they stay on disk unless ``delete``, which HEAD must hold."""
        self.store.check_writable()
        base = cwd or self.root
        wanted = [self.workspace.relative(base, path) for path in paths]
        head = self.entries(self.head.commit)
        known = {p for path, e in head.items() for p in self.workspace.parts(path, e)}
        known |= set(self.workspace.tracked_paths(head))
        gone = sorted(p for p in known if any(tracked.covers(w, p) for w in wanted))
        if not gone:
            raise UnknownFile(f"{', '.join(wanted)}: not tracked; nothing was changed")
        if delete:
            self._delete(head, gone)
        self.workspace.set_tracking(tracked.removed(self.workspace.tracking, [*wanted, *gone]))
        return gone

    def _delete(self, head: Entries, paths: Sequence[str]) -> None:
        present = self.workspace.present(head, self.store.hashing(), storing=False)
        unsaved = [
            path
            for path, entry in present.entries.items()
            if path in paths and head.get(path) != entry
        ]
        if unsaved:
            raise UnsavedChanges(
                f"{unsaved[0]} holds what no commit has; nothing was deleted",
                hint="theta commit it first, or delete it yourself",
            )
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    # Committing ---------------------------------------------------------------------------

    def commit(
        self,
        message: str,
        *,
        author: Author,
        paths: Sequence[str] = (),
        cwd: Path | None = None,
        details: Details | None = None,
        progress: Progress = SILENT,
    ) -> Committed:
        """Commit the tracked files as they are; with ``paths``, only those.

        Nothing changed is `NothingToCommit` unless the details allow an empty commit.
        """
        details = details or Details()
        wanted = [self.workspace.relative(cwd or self.root, path) for path in paths]
        return self._retried(
            lambda session: self._commit(session, message, author, wanted, details, progress)
        )

    def _commit(
        self,
        session: Session,
        message: str,
        author: Author,
        wanted: Sequence[str],
        details: Details,
        progress: Progress,
    ) -> Committed:
        head = self.store.refs.head()
        before = self.entries(head.commit)
        present = self.workspace.present(
            before, session, storing=True, rehash=details.rehash, progress=progress
        )
        tree = self._tree(session, before, present.entries, wanted)
        parents = self._parents(head, details)
        old = None if head.commit is None else self.store.commit(head.commit)
        if old is not None and tree == old.tree and not details.may_be_empty:
            raise NothingToCommit("nothing to commit: every tracked file is as HEAD has it")
        if old is None and not present.entries and not details.may_be_empty:
            raise NothingToCommit("nothing to commit: no file is tracked", hint="theta add PATH")
        commit = _commit_record(tree, parents, message, author, details)
        id_ = CommitId(session.put_record(commit))
        change = RefChange(head.branch or HEAD, head.commit, id_)
        summary = commit.subject
        verb = "commit --amend" if details.amend else "commit"
        session.publish(Operation(0, 0, verb, summary, (change,)), commits=[id_])
        self._settle_tracking(tree)
        return Committed(
            id_,
            commit,
            head.branch,
            session.stored_bytes,
            present.plain_bytes,
            tuple(present.warnings),
        )

    def _tree(
        self, session: Session, before: Entries, present: Entries, wanted: Sequence[str]
    ) -> TreeId:
        """Return the tree to commit: what is there, and what was never checked out."""
        absent = set(self.workspace.tracking.absent)
        entries = dict(present) | {p: e for p, e in before.items() if p in absent}
        if wanted:
            chosen = {p: e for p, e in entries.items() if any(tracked.covers(w, p) for w in wanted)}
            rest = {
                p: e for p, e in before.items() if not any(tracked.covers(w, p) for w in wanted)
            }
            if not chosen and rest == dict(before):
                raise UnknownFile(f"{', '.join(wanted)}: not tracked; nothing was committed")
            entries = rest | chosen

        def put(tree: Tree) -> TreeId:
            return TreeId(session.put_record(tree))

        return build_tree(entries, put)

    def _parents(self, head: Head, details: Details) -> tuple[CommitId, ...]:
        if details.amend:
            if head.commit is None:
                raise UsageError("there is no commit to amend")
            return self.store.commit(head.commit).parents
        return () if head.commit is None else (head.commit, *details.merged)

    def _settle_tracking(self, tree: TreeId) -> None:
        """Forget what ``rm`` took out once no commit at HEAD and no pattern brings it back."""
        tracking = self.workspace.tracking
        held = set(dict(flatten_tree(self.store, tree)))
        still = tuple(
            path
            for path in tracking.removed
            if path in held or any(tracked.covers(p, path) for p in tracking.patterns)
        )
        if still != tracking.removed:
            self.workspace.set_tracking(tracked.kept_out(tracking, still))

    def _retried(self, work: Callable[[Session], T]) -> T:
        """Run work in a session, again when gc took what it shared."""
        for attempt in range(TRIES):
            try:
                with self.store.session() as session:
                    return work(session)
            except CollectedMeanwhile:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    # Moving -------------------------------------------------------------------------------

    def branches(self) -> dict[str, CommitId]:
        """Return the branches by their short names."""
        found = self.store.refs.all(BRANCHES)
        return {name.removeprefix(BRANCHES): commit for name, commit in found.items()}

    def tags(self) -> dict[str, CommitId]:
        """Return the tags by their short names."""
        found = self.store.refs.all(TAGS)
        return {name.removeprefix(TAGS): commit for name, commit in found.items()}

    def create_branch(self, name: str, start: str = HEAD, *, force: bool = False) -> CommitId:
        """Make a branch at a revision; with ``force``, move an existing one."""
        return self._set_ref(BRANCHES, "branch", name, start, force=force)

    def create_tag(self, name: str, start: str = HEAD, *, force: bool = False) -> CommitId:
        """Make a tag at a revision; with ``force``, move an existing one."""
        return self._set_ref(TAGS, "tag", name, start, force=force)

    def _set_ref(self, prefix: str, what: str, name: str, start: str, *, force: bool) -> CommitId:
        check_ref_name(name)
        commit = self.resolve(start)
        old = self.store.refs.get(prefix + name)
        if old is not None and not force:
            raise InvalidName(f"the {what} {name!r} exists; nothing was changed")
        if force and self.head.branch == prefix + name:
            raise UsageError(f"HEAD is on {name}", hint="theta reset moves it")
        self._publish(what, f"{name} at {short(commit)}", RefChange(prefix + name, old, commit))
        return commit

    def delete_branch(self, name: str, *, force: bool = False) -> CommitId:
        """Delete a branch; its commits stay for a week, and undo brings it back.

        One that HEAD does not contain needs ``force``.
        """
        if self.head.branch == BRANCHES + name:
            raise UsageError(f"HEAD is on {name}; nothing was changed", hint="theta switch first")
        commit = self._existing(BRANCHES, "branch", name)
        head = self.head.commit
        merged = head is not None and any(i == commit for i, _ in ancestors(self.store, [head]))
        if not merged and not force:
            raise UnsavedChanges(
                f"{name} holds commits that HEAD lacks; nothing was changed",
                hint=f"theta branch -D {name}",
            )
        self._publish("branch -d", name, RefChange(BRANCHES + name, commit, None))
        return commit

    def delete_tag(self, name: str) -> CommitId:
        """Delete a tag."""
        commit = self._existing(TAGS, "tag", name)
        self._publish("tag -d", name, RefChange(TAGS + name, commit, None))
        return commit

    def rename_branch(self, old: str, new: str) -> None:
        """Give a branch another name; HEAD follows."""
        check_ref_name(new)
        commit = self._existing(BRANCHES, "branch", old)
        if self.store.refs.get(BRANCHES + new) is not None:
            raise InvalidName(f"the branch {new!r} exists; nothing was changed")
        changes = [
            RefChange(BRANCHES + old, commit, None),
            RefChange(BRANCHES + new, None, commit),
        ]
        if self.head.branch == BRANCHES + old:
            changes.append(RefChange(HEAD, BRANCHES + old, BRANCHES + new))
        self._publish("branch -m", f"{old} to {new}", *changes)

    def _existing(self, prefix: str, what: str, name: str) -> CommitId:
        commit = self.store.refs.get(prefix + name)
        if commit is None:
            raise UnknownRevision(f"there is no {what} {name!r}", hint=f"theta {what}")
        return commit

    def switch(
        self,
        target: str,
        *,
        create: bool = False,
        start: str = HEAD,
        detach: bool = False,
        force: bool = False,
        progress: Progress = SILENT,
    ) -> Moved:
        """Put HEAD on a branch, or on a commit with ``detach``, and its files in the workspace.

        Files that no commit holds are never overwritten (`UnsavedChanges`), unless ``force``, which
        stores them first, so that undo brings them back.
        """
        head = self.head
        old = head.branch or head.commit
        changes: list[RefChange] = []
        if create:
            check_ref_name(target)
            if self.store.refs.get(BRANCHES + target) is not None:
                raise InvalidName(f"the branch {target!r} exists; nothing was changed")
            if head.commit is None and start == HEAD:
                self._publish("switch -c", target, RefChange(HEAD, old, BRANCHES + target))
                return Moved(self.head, ())
            commit = self.resolve(start)
            changes.append(RefChange(BRANCHES + target, None, commit))
        elif detach:
            commit = self.resolve(target)
        else:
            commit = self._existing(BRANCHES, "branch", target)
        new: CommitId | str = commit if detach else BRANCHES + target
        if new != old:
            changes.append(RefChange(HEAD, old, new))
        verb = "switch -c" if create else "switch"
        summary = short(commit) if detach else target
        return self._move(verb, summary, commit, changes, force=force, progress=progress)

    def reset(self, revision: str, *, hard: bool = False, progress: Progress = SILENT) -> Moved:
        """Move HEAD's branch to a commit; ``hard`` makes the files follow, storing them first."""
        commit = self.resolve(revision)
        head = self.head
        change = RefChange(head.branch or HEAD, head.commit, commit)
        if not hard:
            self._publish("reset", short(commit), change)
            return Moved(self.head, ())
        return self._move(
            "reset --hard", short(commit), commit, [change], force=True, progress=progress
        )

    def _move(
        self,
        verb: str,
        summary: str,
        commit: CommitId,
        changes: Sequence[RefChange],
        *,
        force: bool,
        progress: Progress,
    ) -> Moved:
        head = self.entries(self.head.commit)
        target = self.entries(commit)

        def work(session: Session) -> tuple[str, ...]:
            present = self.workspace.present(
                head, session if force else self.store.hashing(), storing=force, progress=progress
            )
            saved = None
            if force and present.entries != head:
                saved = self._save(session, present.entries)
            written = self.workspace.move(
                head, present.entries, target, force=force, progress=progress
            )
            operation = Operation(0, 0, verb, summary, tuple(changes), saved=saved)
            if changes or saved:
                session.publish(operation, commits=[saved] if saved else ())
            return tuple(written)

        written = self._retried(work)
        return Moved(self.head, written)

    def _save(self, session: Session, entries: Entries) -> CommitId:
        """Store what is about to be overwritten as a commit that only the operation names."""

        def put(tree: Tree) -> TreeId:
            return TreeId(session.put_record(tree))

        head = self.head.commit
        commit = Commit(
            build_tree(entries, put),
            () if head is None else (head,),
            "theta",
            time.time_ns() // 1000,
            0,
            "files as they were before they were overwritten",
        )
        id_ = CommitId(session.put_record(commit))
        session.flush()
        return id_

    def restore(
        self,
        paths: Sequence[str],
        *,
        source: str = HEAD,
        cwd: Path | None = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Write files as a commit has them; what they overwrite is stored first, for undo."""
        commit = self.resolve(source)
        wanted = [self.workspace.relative(cwd or self.root, path) for path in paths]
        entries = self.entries(commit)
        chosen = {
            path: entry
            for path, entry in entries.items()
            if any(tracked.covers(w, p) for w in wanted for p in self.workspace.parts(path, entry))
        }
        if not chosen:
            raise UnknownFile(
                f"{short(commit)} holds no file {', '.join(wanted)}", hint=f"theta ls {source}"
            )

        def work(session: Session) -> list[str]:
            head = self.entries(self.head.commit)
            present = self.workspace.present(head, session, storing=True, progress=progress)
            now = {p: present.entries.get(p) for p in chosen}
            lost = {p: e for p, e in now.items() if e is not None and e != chosen[p]}
            unsaved = {p: e for p, e in lost.items() if head.get(p) != e}
            self._check_untracked(chosen, present.entries)
            saved = self._save(session, present.entries) if unsaved else None
            todo = {p: e for p, e in chosen.items() if now[p] != e}
            written = self.workspace.write(todo, progress=progress)
            if saved is not None:
                operation = Operation(0, 0, "restore", " ".join(wanted), (), saved=saved)
                session.publish(operation, commits=[saved])
            return written

        written = self._retried(work)
        tracking = self.workspace.tracking
        self.workspace.set_tracking(tracked.returned(tracking, chosen))
        return written

    def _check_untracked(self, chosen: Entries, present: Entries) -> None:
        parts = {p for path, e in present.items() for p in self.workspace.parts(path, e)}
        for path, entry in chosen.items():
            for part in self.workspace.parts(path, entry):
                if part not in parts and (self.root / part).exists():
                    raise UnsavedChanges(
                        f"{part} is not tracked and would be overwritten; nothing was changed",
                        hint=f"theta add {part}, or move it away",
                    )

    # Undo ---------------------------------------------------------------------------------

    def operations(self) -> Iterator[Operation]:
        """Yield the operation log, newest first."""
        return self.store.operations()

    def _publish(self, verb: str, summary: str, *changes: RefChange) -> Operation:
        with self.store.session() as session:
            return session.publish(Operation(0, 0, verb, summary, changes))

    # Care ---------------------------------------------------------------------------------

    def export(
        self, revision: str, target: Path, *, path: str | None = None, progress: Progress = SILENT
    ) -> list[str]:
        """Write a commit's files, or one of them, byte for byte to another place."""
        commit = self.resolve(revision)
        outside = Workspace(target, self.private, self.store)
        if path is None:
            entries = self.entries(commit)
            _check_empty(target)
            return outside.export(entries, progress=progress)
        name, entry = self.entry(commit, path)
        if target.exists() and not target.is_dir():
            raise UnsavedChanges(f"{target} exists; nothing was written")
        if target.is_dir() or len(self.workspace.parts(name, entry)) > 1:
            return outside.export({Path(name).name: entry}, progress=progress)
        renamed = TreeEntry(target.name, entry.kind, entry.id, entry.executable)
        outside = Workspace(target.parent, self.private, self.store)
        return outside.export({target.name: renamed}, progress=progress)

    def fsck(self, *, progress: Progress = SILENT) -> list[Problem]:
        """Verify the whole store; return what is broken and whom it hurts."""
        sizes = self.store.sizes()
        progress.begin("checking", sizes.logical_bytes)
        return self.store.check(progress=progress.advance)

    def gc(self, *, now: bool = False, dry_run: bool = False) -> GcReport:
        """Remove what nothing reaches; the operation log keeps what is younger than gc.undo."""
        kept = 0.0 if now else seconds(self.config.text("gc.undo") or "7d")
        collector = self.store.collector(undo_seconds=kept)
        if dry_run:
            return collector.forecast()
        self.store.check_writable()
        return collector.collect()

    def sizes(self) -> Sizes:
        """Return the bytes of the store."""
        return self.store.sizes()


def _store_folder(private: Path) -> Path:
    pointer = private / POINTER
    if not pointer.exists():
        return private / STORE
    folder = Path(pointer.read_text().strip())
    if not folder.is_dir():
        raise NotARepository(
            f"the store of this repository was at {folder}, which is gone",
            hint=f"mount it again, or write its new place into {pointer}",
        )
    return folder


def _only_checkpoint(commit: CommitId, entries: Entries) -> tuple[str, TreeEntry]:
    found = [(path, entry) for path, entry in entries.items() if entry.kind == "checkpoint"]
    if len(found) != 1:
        some = ", ".join(path for path, _ in found[:5]) or "none"
        raise UnknownFile(
            f"{short(commit)} holds {len(found)} checkpoints ({some}): name one",
            hint="REV:FILE::PARAM",
        )
    return found[0]


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnsavedChanges(f"{target} is not an empty folder; nothing was written")


def _commit_record(
    tree: TreeId, parents: tuple[CommitId, ...], message: str, author: Author, details: Details
) -> Commit:
    return Commit(
        tree,
        parents,
        author.name,
        time.time_ns() // 1000,
        author.zone,
        message,
        details.step,
        {name: float(value) for name, value in (details.metrics or {}).items()},
        dict(details.meta or {}),
    )
