"""A file or folder from anywhere, read as if it lay in the workspace under another name.

Owns which files of the source are taken and the paths they get. Must not know what is tracked.
"""

from pathlib import Path, PurePosixPath

from theta.ignore import Ignore
from theta.progress import Progress
from theta.workspace.checkout import RESERVED
from theta.workspace.items import group
from theta.workspace.snapshot import HintsOf, Taken, take
from theta.workspace.tracking import walk
from theta_store.errors import UnknownFile, UnsafePath
from theta_store.store import Putter


class _Rules(Ignore):
    """A folder's own ignore rules, and the workspace's for where its files go."""

    def __init__(self, source: Path, root: Path, name: str) -> None:
        super().__init__(source)
        self._workspace = Ignore(root)
        self._name = name

    def matches(self, path: str, *, is_dir: bool) -> bool:
        """Say whether either leaves a path of the folder out."""
        there = f"{self._name}/{path}"
        return super().matches(path, is_dir=is_dir) or self._workspace.matches(there, is_dir=is_dir)


def take_as(
    putter: Putter,
    root: Path,
    source: Path,
    name: str,
    progress: Progress,
    hints: HintsOf | None = None,
) -> Taken:
    """Read a file, or what no ignore rule leaves out of a folder, as entries named ``name``.

    A sharded model may be named by its index; its shards lie beside it then.
    """
    if any(step.casefold() == RESERVED for step in source.parts):
        raise UnsafePath(f"{source} belongs to a repository; nothing was committed")
    base, paths = _files(root, source, name)
    items = group(base, paths)
    progress.begin("reading", sum((base / p).stat().st_size for i in items for p in i.parts))
    found = Taken()
    for item in items:
        taken = take(putter, base, item, progress, hints)
        found.entries |= {
            _renamed(path, source, base, name): e for path, e in taken.entries.items()
        }
        found.notices += taken.notices
        found.plain_bytes += taken.plain_bytes
    return found


def _files(root: Path, source: Path, name: str) -> tuple[Path, list[str]]:
    """Return a folder and the files to take, as paths from it."""
    if source.is_file():
        return source.parent, [source.name]
    if not source.is_dir():
        raise UnknownFile(f"{source} does not exist; nothing was committed")
    found = list(walk(source, _Rules(source, root, name)))
    if not found:
        raise UnknownFile(f"{source} holds no file to commit; nothing was committed")
    return source, found


def _renamed(path: str, source: Path, base: Path, name: str) -> str:
    if base == source:
        return f"{name}/{path}"
    if path == source.name:
        return name
    # A shard beside the index that was named.
    return str(PurePosixPath(name).parent / path)
