"""What a user names to have it compared: revisions, other repositories, files and folders.

Owns the way from the words to two sides. Must not know what differs, nor the terminal.

Grammar: a revision, ``REV:FILE``, ``REV:FOLDER``, ``REV:FILE::PARAM``, ``REV::PARAM``; any of them
behind ``REPO@``, with the path of another repository; a file or folder on disk. A word that is both
a revision and a path is refused; ``./NAME`` is always a path.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from theta.compare import GLOB, Side, SideFile
from theta.params import find
from theta.progress import SILENT, Progress
from theta.repo.on_disk import OnDisk, Wanted
from theta.repo.open_files import OpenFiles
from theta.repo.opened import PRIVATE, Opened
from theta.revision import parse_address
from theta.workspace import tracking as tracked
from theta.workspace.notices import Notice
from theta_store.errors import (
    NotARepository,
    UnknownFile,
    UnknownParameter,
    UnknownRevision,
    UsageError,
)
from theta_store.ids import CheckpointId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import HEAD, Hashing

_PATH = re.compile(r"\.{0,2}[/\\]|\.{1,2}$")


_Meant: TypeAlias = Path | tuple[Opened, str]


class Named(msgspec.Struct, frozen=True):
    """A side, and what it takes to match it with the other one.

    ``text`` is what the user typed; ``place`` where a file or folder on disk lies in the workspace;
    ``ours`` says that the paths are those of the workspace.
    """

    text: str
    side: Side
    place: str | None = None
    ours: bool = False


class Sides:
    """Opens what is compared; it stays open until the stack is closed.

    ``repo`` is None outside of any repository. ``paths`` select files, as the user typed them.
    """

    def __init__(
        self,
        repo: Opened | None,
        cwd: Path,
        stack: ExitStack,
        *,
        paths: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> None:
        self._repo = repo
        self._cwd = cwd
        self._stack = stack
        self._paths = paths
        self._progress = progress
        hashing = Hashing.alone() if repo is None else repo.store.hashing()
        self._disk = OnDisk(hashing, stack.enter_context(OpenFiles()), progress)

    @property
    def notices(self) -> Sequence[Notice]:
        """What there was to say about files on disk; grows as they are read."""
        return self._disk.notices

    def pair(self, before: str, after: str | None) -> tuple[Side, Side]:
        """Return two sides; without ``after`` the new one is the workspace.

        A file is matched with the file of that path, of that name, or the only checkpoint of the
        other side; a folder of the workspace with the same folder of a commit. ``A..B`` is A and B.
        """
        left, dots, right = before.partition("..")
        if after is None and dots and left and right and not (self._cwd / before).exists():
            before, after = left, right
        first = self._meant(before)
        if after is None and isinstance(first, Path) and self._place(first) is not None:
            # As in git: a path of the workspace alone says what to look at, not what with.
            self._paths, before = (*self._paths, before), HEAD
            first = self._meant(HEAD)
        old = self._opened(first, before)
        new = self._workspace() if after is None else self._opened(self._meant(after), after)
        one, two = _matched(old, new).side, _matched(new, old).side
        if self._paths and not one.files and not two.files:
            raise UnknownFile(f"no file of either side is {', '.join(self._paths)}")
        return one, two

    # Words --------------------------------------------------------------------------------

    def _meant(self, text: str) -> _Meant:
        """Return the path that a word is, or the repository and the address in it."""
        other = self._other_repository(text)
        if other is not None:
            return other
        path = self._cwd / text
        if self._repo is None or _PATH.match(text):
            if path.exists():
                return path
            hint = None if self._repo else "revisions need a repository: theta -C DIR diff A B"
            raise UnknownFile(f"{text} is no file or folder", hint=hint)
        try:
            self._repo.resolve(parse_address(text).revision or HEAD)
        except UnknownRevision:
            if path.exists():
                return path
            raise
        if path.exists():
            raise UsageError(f"{text!r} is a revision and a path", hint=f"./{text} is the path")
        return self._repo, text

    def _opened(self, meant: _Meant, text: str) -> Named:
        if isinstance(meant, Path):
            return self._on_disk(meant, text)
        return self._at(*meant, text)

    def _other_repository(self, text: str) -> tuple[Opened, str] | None:
        for at in (place for place, char in enumerate(text) if char == "@" and place):
            root = (self._cwd / text[:at]).resolve()
            if (root / PRIVATE).is_dir():
                if self._repo is not None and root == self._repo.root.resolve():
                    return self._repo, text[at + 1 :]
                return self._stack.enter_context(Opened(root, readonly=True)), text[at + 1 :]
        if "@" in text and _PATH.match(text) and not (self._cwd / text).exists():
            raise NotARepository(f"{text.rpartition('@')[0]} is no theta repository")
        return None

    # Commits and the workspace --------------------------------------------------------------

    def _at(self, repo: Opened, revision: str, text: str) -> Named:
        address = parse_address(revision)
        commit = repo.resolve(address.revision or HEAD)
        ours = repo is self._repo
        if address.file is None and address.param is None:
            files = self._stored(repo, repo.entries(commit), ours=ours)
            return Named(text, Side(files), ours=ours)
        if address.file is not None and address.param is None:
            below = _below(repo.entries(commit), address.file.rstrip("/"))
            if len(below) > 1:
                return Named(text, Side(self._stored(repo, below, ours=False)))
        path, entry = repo.entry(commit, address.file)
        if address.param is not None:
            _check_has(repo, path, entry, address.param)
        file = replace(_stored_file(repo, entry), only=address.param)
        return Named(text, Side({path: file}, single=True))

    def _stored(
        self, repo: Opened, entries: Mapping[str, TreeEntry], *, ours: bool
    ) -> dict[str, SideFile]:
        wanted = self._wanted(ours=ours)
        return {
            path: _stored_file(repo, entry)
            for path, entry in entries.items()
            if wanted([path]) or (self._paths and wanted(repo.workspace.parts(path, entry)))
        }

    def _workspace(self) -> Named:
        repo = self._repo
        if repo is None:
            raise UsageError("one side is missing", hint="theta diff A B")
        head = repo.entries(repo.head.commit)
        hashing = self._disk.hashing
        present = repo.workspace.present(head, hashing, storing=False, progress=self._progress)
        self._disk.notices += present.notices
        away = {p for p in repo.workspace.tracking.absent if not (repo.root / p).is_file()}
        entries = {path: head[path] for path in away if path in head} | present.entries
        wanted = self._wanted(ours=True)
        files: dict[str, SideFile] = {}
        for path, entry in entries.items():
            parts = (path,) if path in away else repo.workspace.parts_present(path)
            if wanted(parts):
                same = head.get(path) == entry
                files[path] = (
                    _stored_file(repo, entry) if same else self._disk.known(repo.root, parts, entry)
                )
        return Named("the workspace", Side(files), ours=True)

    # Files on disk ------------------------------------------------------------------------

    def _on_disk(self, path: Path, text: str) -> Named:
        place = self._place(path)
        if path.is_dir():
            folder = path.resolve()
            base = folder if self._repo is None or place is None else self._repo.root.resolve()
            found = self._disk.folder(folder, self._wanted(ours=False), base)
            return Named(text, Side(found), place)
        return Named(text, Side({text: self._disk.file(path)}, single=True), place)

    def _place(self, path: Path) -> str | None:
        if self._repo is None:
            return None
        root, full = self._repo.root.resolve(), path.resolve()
        return full.relative_to(root).as_posix() if full.is_relative_to(root) else None

    def _wanted(self, *, ours: bool) -> Wanted:
        """Return the test of a file by the paths of its parts."""
        paths = [path.rstrip("/") for path in self._paths]
        if ours and self._repo is not None:
            paths = [self._repo.workspace.relative(self._cwd, path) for path in paths]
        return lambda parts: not paths or any(tracked.covers(w, p) for w in paths for p in parts)


def _stored_file(repo: Opened, entry: TreeEntry) -> SideFile:
    def read(name: str, tensor: Tensor, start: int, out: memoryview) -> None:  # noqa: ARG001
        repo.store.read_range(tensor, start, out)

    return SideFile(entry, repo.store, read)


def _check_has(repo: Opened, path: str, entry: TreeEntry, param: str) -> None:
    if entry.kind != "checkpoint":
        raise UsageError(f"{path} is a plain file; it has no parameters")
    record = repo.store.checkpoint(CheckpointId(entry.id))
    name = record.aliases.get(param, param)
    if find(repo.store, record.params, name) is None and not any(c in param for c in GLOB):
        raise UnknownParameter(f"{path} has no parameter {param!r}", hint="theta ls REV:FILE")


def _below(entries: Mapping[str, TreeEntry], folder: str) -> dict[str, TreeEntry]:
    prefix = folder + "/"
    return {p.removeprefix(prefix): e for p, e in entries.items() if p.startswith(prefix)}


def _matched(one: Named, other: Named) -> Named:
    """Return a side as it is to be compared with the other: a file of it, a folder, or all."""
    if other.side.single and not one.side.single:
        path = _counterpart(one, other)
        return replace(one, side=Side({path: one.side.files[path]}, single=True))
    if one.ours and other.place not in {None, "."} and not other.ours:
        prefix = f"{other.place}/"
        below = {
            path.removeprefix(prefix): file
            for path, file in one.side.files.items()
            if path.startswith(prefix)
        }
        return replace(one, side=Side(below)) if below else one
    return one


def _counterpart(one: Named, other: Named) -> str:
    """Return the path in a side of many files that belongs to the one file of the other."""
    ((key, file),) = other.side.files.items()
    for path in (other.place, key, Path(key).name):
        if path in one.side.files:
            assert path is not None
            return path
    models = [path for path, found in one.side.files.items() if found.entry.kind == "checkpoint"]
    if file.entry.kind == "checkpoint" and len(models) == 1:
        return models[0]
    raise UnknownFile(
        f"{one.text} holds no file {Path(key).name}; nothing was compared",
        hint="name the file: REV:FILE",
    )
