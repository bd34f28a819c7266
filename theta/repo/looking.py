"""Verbs that read: status, log, show, ls, cat.

Owns what they answer. Must not write anything, nor know the terminal.
"""

from collections.abc import Iterable, Iterator, Sequence

from theta.diff import diff_trees
from theta.history import ancestors
from theta.merge import pending
from theta.params import find, flatten, match_names
from theta.progress import SILENT, Progress
from theta.repo.opened import MERGE_FILE, Opened
from theta.repo.values import Status
from theta.revision import (
    Address,
    parse_address,
)
from theta_store.errors import (
    UnknownParameter,
    UsageError,
)
from theta_store.ids import BlobId, CheckpointId, CommitId, TensorId, short
from theta_store.records import Checkpoint, Commit, Tensor, TreeEntry
from theta_store.store import (
    HEAD,
)


class Looking(Opened):
    """The verbs of this file."""

    def address(self, text: str) -> tuple[CommitId, Address]:
        """Return the commit and the parts of an address; no revision means HEAD."""
        address = parse_address(text)
        return self.resolve(address.revision or HEAD), address

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
        waiting = pending.load(self.private / MERGE_FILE)
        label = None if waiting is None else waiting.label
        return Status(head, files, others, label, tuple(present.warnings))

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
