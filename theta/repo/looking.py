"""Verbs that read: status, log, show, ls, cat.

Owns what they answer. Must not write anything, nor know the terminal.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.diff import diff_trees
from theta.formats import HEAD_BYTES, recognise
from theta.history import ancestors
from theta.merge import pending
from theta.params import find, flatten, match_names
from theta.progress import SILENT, Progress
from theta.repo.opened import MERGE_FILE, Opened
from theta.revision import (
    Address,
    parse_address,
)
from theta_store.errors import (
    NotFound,
    OpaqueFile,
    UnknownParameter,
    UsageError,
)
from theta_store.ids import BlobId, CheckpointId, CommitId, TensorId, short
from theta_store.records import Checkpoint, Commit, Tensor, TreeEntry
from theta_store.store import BRANCHES, HEAD, TAGS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from theta.merge import Recipe
    from theta.repo.values import Status
    from theta.selection import Selection
    from theta.workspace import FileState


class Looking(Opened):
    """The verbs of this file."""

    def address(self, text: str) -> tuple[CommitId, Address]:
        """Return the commit and the parts of an address; no revision means HEAD."""
        address = parse_address(text)
        return self.resolve(address.revision or HEAD), address

    def status(
        self, *, rehash: bool = False, untracked: bool = True, progress: Progress = SILENT
    ) -> "Status":
        """Compare the tracked files with HEAD; only changed files are read."""
        from theta.repo.values import Status

        head = self.store.refs.head()
        entries = self.entries(head.commit)
        hashing = self.store.hashing()
        present = self.workspace.present(
            entries, hashing, storing=False, rehash=rehash, progress=progress
        )
        files = self.workspace.compare(hashing, entries, present.entries)
        others = tuple(self.workspace.untracked_paths(entries)) if untracked else ()
        waiting = pending.load(self.private / MERGE_FILE)
        label = None if waiting is None else waiting.label
        return Status(head, files, others, label, present.warnings)

    def log(
        self,
        revisions: str | Sequence[str] = (),
        *,
        count: int | None = None,
        touching: str | Sequence[str] = (),
        paths: str | Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Iterator[tuple[CommitId, Commit]]:
        """Yield commits, children before parents; ``A..B`` leaves out what A has.

        With ``touching`` (globs of parameters) or ``paths``, only those that changed such
        parameters or files against each of their parents. At most ``count`` are yielded.
        """
        from theta.repo.values import listed

        tips: list[CommitId] = []
        without: list[CommitId] = []
        for revision in listed(revisions) or (HEAD,):
            left, dots, right = revision.partition("..")
            if dots:
                without.append(self.resolve(left or HEAD))
            tips.append(self.resolve((right or HEAD) if dots else revision))
        found = ancestors(self.store, tips, without=without)
        if touching or paths:
            from theta.selection import touches

            selection = self._selection(listed(touching), listed(paths), cwd)
            found = (item for item in found if touches(self.store, item[1], selection))
        yield from islice(found, count)

    def _selection(
        self, globs: Sequence[str], paths: Sequence[str], cwd: Path | None
    ) -> "Selection":
        from theta.selection import Selection

        wanted = [self.workspace.relative(cwd or self.root, path) for path in paths]

        def covered(path: str, entry: TreeEntry) -> bool:
            from theta.workspace.tracking import covers

            parts = self.workspace.parts(path, entry)
            return any(covers(pattern, part) for pattern in wanted for part in parts)

        return Selection(covered if paths else None, match_names(globs) if globs else None)

    def recipe(self, revision: str) -> "Recipe":
        """Return how a merge was made; a commit that has no recipe is `NotFound`."""
        id_ = self.resolve(revision)
        found = self.recipe_of(self.store.commit(id_))
        if found is None:
            raise NotFound(f"{short(id_)} has no recipe: theta did not merge it", hint="theta log")
        return found

    def recipe_of(self, commit: Commit) -> "Recipe | None":
        """Return how a commit was merged, if theta did it."""
        from theta.merge import read_recipe

        return None if commit.recipe is None else read_recipe(self.store.read_bytes(commit.recipe))

    def changes(self, commit: CommitId) -> list[tuple[str, str]]:
        """Return the files that a commit changed against its first parent, and how.

        Nothing where the files of either were given up.
        """
        record = self.store.commit(commit)
        gone = [id_ for id_ in (commit, *record.parents[:1]) if self.store.is_expired(id_)]
        if gone and not self.store.complete(gone):
            return []
        before = self.store.commit(record.parents[0]).tree if record.parents else None
        return [
            (c.path, "added" if c.before is None else "removed" if c.after is None else "changed")
            for c in diff_trees(self.store, before, record.tree)
        ]

    def changed_files(self, commit: CommitId) -> "list[FileState]":
        """Return the files that a commit changed against its first parent, with the parameters.

        Nothing where the files of either were given up.
        """
        from theta.workspace.status import compare

        parents = self.store.commit(commit).parents[:1]
        if self._given_up(commit, *parents):
            return []
        before = self.entries(parents[0] if parents else None)
        return list(compare(self.store, before, self.entries(commit), frozenset()))

    def _given_up(self, *commits: CommitId) -> bool:
        return any(not self.store.has(self.store.commit(id_).tree) for id_ in commits)

    def file_size(self, entry: TreeEntry) -> int:
        """Return the bytes of the files that an entry stands for."""
        return self.workspace.file_size(entry)

    def names(self) -> dict[CommitId, list[str]]:
        """Return the branches and tags of each commit, by their short names."""
        found: dict[CommitId, list[str]] = {}
        for prefix in (BRANCHES, TAGS):
            for name, commit in self.store.refs.all(prefix).items():
                found.setdefault(commit, []).append(name.removeprefix(prefix))
        return found

    def params(
        self, commit: CommitId, path: str | None, globs: Iterable[str] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters of a checkpoint that match any glob, with their records."""
        matches = match_names(globs)
        _, record = self._checkpoint(commit, path)
        ids = {name: id_ for name, id_ in flatten(self.store, record.params) if matches(name)}
        yield from zip(ids, self.store.tensors(ids.values()), strict=True)

    def tensor(self, commit: CommitId, path: str | None, name: str) -> Tensor:
        """Return one parameter's record; tied names are followed."""
        path, record = self._checkpoint(commit, path)
        found = find(self.store, record.params, record.aliases.get(name, name))
        if found is None:
            raise UnknownParameter(
                f"{path} of {short(commit)} has no parameter {name!r}",
                hint=f"theta ls {short(commit)}:{path}",
            )
        return self.store.tensor(TensorId(found))

    def _checkpoint(self, commit: CommitId, path: str | None) -> tuple[str, Checkpoint]:
        path, entry = self.entry(commit, path)
        if entry.kind == "checkpoint":
            return path, self.store.checkpoint(CheckpointId(entry.id))
        blob = self.store.blob(BlobId(entry.id))
        head = bytearray(min(HEAD_BYTES, blob.size))
        self.store.read_range(blob, 0, memoryview(head))
        if recognise(bytes(head), path) is None:
            raise UsageError(f"{path} is a plain file; it has no parameters")
        raise OpaqueFile(
            f"the parameters of {path} cannot be read, as the commit warned; "
            "theta keeps the file byte for byte",
            hint="save it again with plain tensors only, such as a state_dict",
        )

    def read_tensors(
        self, tensors: Iterable[Tensor], *, progress: Progress = SILENT
    ) -> "list[NDArray[np.uint8]]":
        """Return the plain bytes of tensors, little-endian, C order, each an array of its own.

        They are read in parallel, so this is the way to load a whole model: see `params`.
        """
        import numpy as np

        wanted = list(tensors)
        arrays = [np.empty(tensor.nbytes, np.uint8) for tensor in wanted]
        progress.begin("loading", sum(tensor.nbytes for tensor in wanted))
        sinks = (_Memory(array.data) for array in arrays)
        self.store.read_into(zip(wanted, sinks, strict=True), progress=progress.advance)
        return arrays

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


class _Memory(msgspec.Struct, frozen=True):
    """A sink in memory."""

    out: memoryview

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``."""
        self.out[start : start + len(plain)] = plain
