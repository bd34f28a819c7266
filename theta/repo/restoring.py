"""``restore``: files, or single parameters, as a commit has them.

Owns its steps. Must not know the terminal. What is overwritten is stored first, and one operation
says so, which undo takes back.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from theta.checkpoint import Reader, exchanged, named_leaves, transplanted
from theta.params import match_names
from theta.progress import SILENT, Progress
from theta.repo.opened import Opened
from theta.repo.values import Restored, listed
from theta.workspace import Entries, Parts, Present
from theta.workspace import tracking as tracked
from theta.workspace.checkout import part_path
from theta.workspace.status import ParamReader
from theta_store.errors import UnknownFile, UnknownParameter, UnsavedChanges
from theta_store.ids import CheckpointId, CommitId, TensorId, short
from theta_store.records import TreeEntry
from theta_store.store import HEAD, Hashing, Operation, Session


class Rewrite(msgspec.Struct, frozen=True):
    """What will be written, what of the workspace that touches, and the parameters replaced.

    ``parts`` are the paths that will be written; ``only`` restricts sharded models to some files.
    ``made`` is what the entries are then, as far as they are one.
    """

    writes: Entries
    lost: Entries
    parts: tuple[str, ...]
    made: Entries
    params: tuple[str, ...] = ()
    only: Parts = msgspec.field(default_factory=dict)


class Restoring(Opened):
    """The verbs of this file."""

    def restore(
        self,
        paths: str | Sequence[str],
        *,
        source: str = HEAD,
        params: str | Sequence[str] = (),
        cwd: Path | None = None,
        dry_run: bool = False,
        progress: Progress = SILENT,
    ) -> Restored:
        """Write files as a commit has them; with ``params`` (globs), only those parameters.

        Of a sharded model, the shards that are named; its index, or its folder, stands for all.
        Parameters go into the files as they are on disk now, saved or not; they must be there with
        the same dtype and shape. What is overwritten is stored first, for undo.
        """
        commit, params = self.resolve(source), listed(params)
        wanted = [self.workspace.relative(cwd or self.root, path) for path in listed(paths)]
        chosen = self._chosen(commit, source, wanted)

        def plan(putter: Session | Hashing) -> Rewrite:
            present = self._look(putter, progress)
            if params:
                return self._plan_params(putter, present, chosen, params, source)
            only = self._only(chosen, wanted)
            return self._plan_files(putter, present, chosen, only)

        def work(session: Session) -> Restored:
            summary = " ".join([*wanted, *(f"-p {glob}" for glob in params)])
            return self._rewrite(session, "restore", summary, plan(session), progress)

        if dry_run:
            todo = plan(self.store.hashing())
            return Restored(todo.parts, todo.params, undoable=bool(todo.lost))
        restored = self._retried(work, discards=True)
        tracking = self.workspace.tracking
        self.workspace.set_tracking(tracked.returned(tracking, chosen))
        return restored

    def _rewrite(
        self, session: Session, verb: str, summary: str, todo: Rewrite, progress: Progress
    ) -> Restored:
        """Store what is there, say so, and write."""
        saved = self._save(session, todo.lost, todo.made) if todo.lost else None
        if saved is not None:
            operation = Operation(0, 0, verb, summary, (), saved=saved, wrote=True)
            # Before anything is overwritten: a crash in between loses nothing.
            session.publish(operation, commits=[saved])
        written = self.workspace.write(todo.writes, only=todo.only, progress=progress)
        return Restored(tuple(written), todo.params, undoable=saved is not None)

    def _chosen(self, commit: CommitId, source: str, wanted: Sequence[str]) -> Entries:
        chosen = {
            path: entry
            for path, entry in self.entries(commit).items()
            if any(tracked.covers(w, p) for w in wanted for p in self.workspace.parts(path, entry))
        }
        if not chosen:
            raise UnknownFile(
                f"{short(commit)} holds no file {', '.join(wanted)}", hint=f"theta ls {source}"
            )
        return chosen

    def _look(self, putter: Session | Hashing, progress: Progress) -> Present:
        head = self.entries(self.head.commit)
        storing = isinstance(putter, Session)
        return self.workspace.present(head, putter, storing=storing, progress=progress)

    def _parts_here(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(part for path in paths for part in self.workspace.parts_present(path))

    def _only(self, chosen: Entries, wanted: Sequence[str]) -> Parts:
        """Return which shards are named, of the models that are not named as a whole."""
        return {
            path: frozenset(
                part
                for part in self.workspace.parts(path, entry)
                if any(tracked.covers(w, part) for w in wanted)
            )
            for path, entry in chosen.items()
            if not any(tracked.covers(w, path) for w in wanted)
        }

    def _plan_files(
        self, putter: Session | Hashing, present: Present, chosen: Entries, only: Parts
    ) -> Rewrite:
        reader = self._reader_of(putter)
        differing = self.workspace.unwritten(chosen, only, reader)
        blocked = [p for p in self.workspace.in_the_way(present, chosen) if p in differing]
        if blocked:
            raise UnsavedChanges(
                f"{blocked[0]} is not tracked and would be overwritten; nothing was changed",
                hint=f"theta add {blocked[0]}, or move it away",
            )
        writes = {p: e for p, e in chosen.items() if present.entries.get(p) != e}
        own = set(self._parts(writes))
        parts = tuple(part for part in differing if part in own)
        lost = self._touched(present, writes) if parts else {}
        made = {path: entry for path, entry in writes.items() if path not in only}
        if lost and isinstance(putter, Session):
            made |= self._mixed(putter, present, writes, only)
        return Rewrite(writes, lost, parts, made, only=only)

    def _mixed(
        self, session: Session, present: Present, writes: Entries, only: Parts
    ) -> dict[str, TreeEntry]:
        """Return what models are once some of their files are another's; none that is no model."""
        found = {}
        for path in only.keys() & writes.keys() & present.entries.keys():
            files = self.store.checkpoint(CheckpointId(writes[path].id)).files
            taken = {file.path for file in files if part_path(path, file) in only[path]}
            mixed = exchanged(self.store, session, present.entries[path], writes[path], taken)
            if mixed is not None:
                found[path] = mixed
        return found

    def _touched(self, present: Present, writes: Entries) -> Entries:
        """Return the entries on disk that share a file with what is written.

        Of a model one of whose shards is missing, each file is an entry of its own.
        """
        parts = set(self._parts(writes))
        return {
            path: entry
            for path, entry in present.entries.items()
            if not parts.isdisjoint(self.workspace.parts_present(path))
        }

    # Parameters ---------------------------------------------------------------------------

    def _plan_params(
        self,
        putter: Session | Hashing,
        present: Present,
        chosen: Entries,
        globs: Sequence[str],
        source: str,
    ) -> Rewrite:
        reader = self._reader_of(putter)
        writes, lost, names = {}, {}, []
        for path, donors in self._donors(chosen, globs, source).items():
            now = present.entries.get(path)
            if now is None or now.kind != "checkpoint":
                raise UnknownFile(
                    f"{path} is not here as a tracked checkpoint; nothing was changed",
                    hint=f"theta restore --source {source} {path}",
                )
            made = transplanted(reader, putter, path, now, donors)
            names += [f"{path}::{name}" for name in donors]
            if made.id != now.id:
                writes[path], lost[path] = made, now
        return Rewrite(writes, lost, self._parts_here(writes), writes, tuple(names))

    def _donors(
        self, chosen: Entries, globs: Sequence[str], source: str
    ) -> dict[str, dict[str, TensorId]]:
        """Return the parameters of the source that match, by file."""
        matches = match_names(globs)
        found: dict[str, dict[str, TensorId]] = {}
        for path, entry in chosen.items():
            if entry.kind == "checkpoint":
                leaves = named_leaves(self.store, entry)
                donors = {name: id_ for name, id_ in leaves.items() if matches(name)}
                if donors:
                    found[path] = donors
        if not found:
            files = ", ".join(chosen)
            raise UnknownParameter(
                f"no parameter of {files} in {source} matches {', '.join(globs)}",
                hint=f"theta ls {source}:{next(iter(chosen))}",
            )
        return found

    def _reader_of(self, putter: Session | Hashing) -> Reader:
        """Return what reads the records of the files on disk as well."""
        if isinstance(putter, Hashing):
            return ParamReader(putter)
        putter.flush()
        return self.store
