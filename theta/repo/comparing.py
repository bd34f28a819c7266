"""``diff``: two commits, or a commit and the files on disk.

Owns the sides. Must not know the terminal.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from theta.compare import (
    FileDifference,
    Leaf,
    Side,
    SideFile,
    differences,
    leaf_of_tensor,
    side_of_file,
)
from theta.merge.plan import named_leaves
from theta.repo.opened import Opened
from theta_store.ids import CommitId
from theta_store.records import TreeEntry


class Comparing(Opened):
    """The verbs of this file."""

    @contextmanager
    def diff(
        self, before: str = "HEAD", after: str | None = None
    ) -> Iterator[Iterator[FileDifference]]:
        """Lend the differences of two revisions, or of one and the tracked files on disk.

        Parameters can be measured inside the ``with`` block, while the files are open.
        """
        with ExitStack() as stack:
            old = self._side(self.resolve(before))
            new = (
                self._present_side(stack, old) if after is None else self._side(self.resolve(after))
            )
            yield differences(old, new)

    def _side(self, commit: CommitId) -> Side:
        return {path: self._stored(entry) for path, entry in self.entries(commit).items()}

    def _stored(self, entry: TreeEntry) -> SideFile:
        if entry.kind != "checkpoint":
            return SideFile(entry.id)

        def leaves() -> Mapping[str, Leaf]:
            found = named_leaves(self.store, entry)
            return {
                name: leaf_of_tensor(id_, self.store.tensor(id_), self.store.read_range)
                for name, id_ in found.items()
            }

        return SideFile(entry.id, leaves)

    def _present_side(self, stack: ExitStack, old: Side) -> Side:
        """Return the files on disk; those that are as HEAD has them are not opened."""
        head = self.entries(self.head.commit)
        hashing = self.store.hashing()
        present = self.workspace.present(head, hashing, storing=False).entries
        side: dict[str, SideFile] = {}
        for path, entry in present.items():
            if path in old and old[path].id == entry.id:
                side[path] = old[path]
                continue

            def leaves(path: str = path) -> Mapping[str, Leaf]:
                found: dict[str, Leaf] = {}
                for part in self.workspace.parts_present(path):
                    found |= side_of_file(stack, hashing, self.root / part).leaves()
                return found

            side[path] = SideFile(entry.id, leaves)
        return side
