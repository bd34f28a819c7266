"""Files and folders on disk as sides of a comparison.

Owns their hashing and the way from a parameter to the file that holds it. Must not know commits,
nor what is compared.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from theta.compare import SideFile
from theta.ignore import Ignore
from theta.progress import Progress
from theta.repo.open_files import OpenFiles
from theta.workspace import tracking as tracked
from theta.workspace.items import Item, group
from theta.workspace.notices import Notice
from theta_store.errors import MalformedFile
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Hashing

Wanted = Callable[[Iterable[str]], bool]


class _Below(Ignore):
    """The rules from ``base`` on, asked about paths from a folder below it."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(base)
        place = folder.relative_to(base).as_posix()
        self._prefix = "" if place == "." else place + "/"

    def matches(self, path: str, *, is_dir: bool) -> bool:
        """Say whether a rule leaves out a path from the folder."""
        return super().matches(self._prefix + path, is_dir=is_dir)


class OnDisk:
    """Reads what lies on disk through a hashing; ``notices`` grow as files are read."""

    def __init__(self, hashing: Hashing, files: OpenFiles, progress: Progress) -> None:
        self.hashing = hashing
        self.notices: list[Notice] = []
        self._files = files
        self._progress = progress

    def file(self, path: Path) -> SideFile:
        """Return one file; an index of shards stands for the whole model."""
        (item,) = group(path.parent, [path.name])
        return self._taken(path.parent, [item])[path.name]

    def folder(self, folder: Path, wanted: Wanted, base: Path) -> dict[str, SideFile]:
        """Return what no ignore rule leaves out of a folder, by path; others are not read.

        ``base`` is the folder, or one above it, from which on ignore files count.
        """
        items = group(folder, tracked.walk(folder, _Below(base, folder)))
        return self._taken(folder, [item for item in items if wanted(item.parts)])

    def known(self, root: Path, parts: Iterable[str], entry: TreeEntry) -> SideFile:
        """Return a file, or the files of one model, whose entry was found out before."""
        paths = tuple(root / part for part in parts)

        def read(name: str, tensor: Tensor, start: int, out: memoryview) -> None:
            self._files.read(paths, name, tensor, start, out)

        return SideFile(entry, self.hashing, read)

    def _taken(self, root: Path, items: Sequence[Item]) -> dict[str, SideFile]:
        from theta.workspace.snapshot import take

        sizes = ((root / part).stat().st_size for item in items for part in item.parts)
        self._progress.begin("reading", sum(sizes))
        found: dict[str, SideFile] = {}
        for item in items:
            try:
                taken = take(self.hashing, root, item, self._progress)
            except MalformedFile as error:
                raise MalformedFile(error.message.replace("; nothing was committed", "")) from None
            self.notices += taken.notices
            for path, entry in taken.entries.items():
                parts = item.parts if len(taken.entries) == 1 else (path,)
                found[path] = self.known(root, parts, entry)
        return found
