"""Which files of the workspace theta looks after.

Owns the patterns that ``add`` and ``rm`` leave behind, their file in ``.theta``, and the walk that
finds what they match. Must not know the store: what HEAD holds is told.

Tracked = what HEAD holds or a pattern matches, and ``rm`` has not taken out. A file named by its
own path is tracked even where ``.thetaignore`` would leave it out; what a folder or glob brings in
is not.
"""

import fnmatch
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import msgspec

from theta.ignore import Ignore
from theta.workspace.checkout import RESERVED
from theta.workspace.draft import TEMPORARY
from theta_store.errors import IntegrityError, InvalidName, UnknownFile, UnsafePath

VERSION = 1
GLOB = "*?["


class Tracking(msgspec.Struct, frozen=True):
    """Paths are relative to the root, with ``/``.

    ``absent`` are files of HEAD that were never checked out here: missing, but not deleted.
    """

    version: int = VERSION
    patterns: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def load(path: Path) -> Tracking:
    """Read the file; none yet means that nothing is tracked."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tracking)
    except FileNotFoundError:
        return Tracking()
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            f"{path} is damaged: {error}", hint=f"delete {path} and add your files again"
        ) from None


def save(path: Path, tracking: Tracking) -> None:
    """Write the file atomically."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(tracking)))
    temporary.replace(path)


def relative(root: Path, cwd: Path, path: str) -> str:
    """Return a user's path as one from the root; one outside is `UnsafePath`."""
    full = os.path.normpath(cwd / path)
    inside = os.path.relpath(full, root).replace(os.sep, "/")
    if inside == ".." or inside.startswith(("../", "/")):
        raise UnsafePath(f"{path} lies outside the workspace {root}; nothing was changed")
    if inside.split("/", 1)[0].casefold() == RESERVED:
        raise UnsafePath(f"{path} belongs to the repository itself; nothing was changed")
    return inside


def added(tracking: Tracking, root: Path, paths: Iterable[str]) -> Tracking:
    """Return the tracking with more patterns; a plain path that does not exist is `UnknownFile`."""
    new = tuple(paths)
    for path in new:
        if not (root / path).exists() and not any(char in path for char in GLOB):
            raise UnknownFile(f"{path} does not exist; nothing was added")
    return msgspec.structs.replace(
        tracking,
        patterns=tuple(dict.fromkeys((*tracking.patterns, *new))),
        removed=tuple(old for old in tracking.removed if not any(covers(p, old) for p in new)),
        absent=tuple(old for old in tracking.absent if not any(covers(p, old) for p in new)),
    )


def removed(tracking: Tracking, paths: Iterable[str]) -> Tracking:
    """Return the tracking without these files, whatever patterns match them."""
    gone = tuple(paths)
    return msgspec.structs.replace(
        tracking,
        patterns=tuple(pattern for pattern in tracking.patterns if pattern not in gone),
        removed=tuple(dict.fromkeys((*tracking.removed, *gone))),
        absent=tuple(path for path in tracking.absent if path not in gone),
    )


def settled(tracking: Tracking, held: Container[str], missing: Container[str]) -> Tracking:
    """Return the tracking after a commit that holds ``held``, of which ``missing`` are not on disk.

    What ``rm`` took out is forgotten once neither the commit nor a pattern brings it back.
    """
    return msgspec.structs.replace(
        tracking,
        removed=tuple(
            path
            for path in tracking.removed
            if path in held or any(covers(p, path) for p in tracking.patterns)
        ),
        absent=tuple(path for path in tracking.absent if path in missing),
    )


def left_out(tracking: Tracking, paths: Iterable[str]) -> Tracking:
    """Return the tracking in which these files of HEAD were never checked out."""
    back = returned(tracking, paths)
    return msgspec.structs.replace(back, absent=tuple(sorted({*back.absent, *paths})))


def returned(tracking: Tracking, paths: Iterable[str]) -> Tracking:
    """Return the tracking in which these files are neither taken out nor absent."""
    back = set(paths)
    return msgspec.structs.replace(
        tracking,
        removed=tuple(path for path in tracking.removed if path not in back),
        absent=tuple(path for path in tracking.absent if path not in back),
    )


def covers(pattern: str, path: str) -> bool:
    """Say whether a pattern names a path itself, a folder above it, or a glob that matches it."""
    if pattern in {".", path} or path.startswith(pattern + "/"):
        return True
    if not any(char in pattern for char in GLOB):
        return False
    return _matches(pattern.split("/"), path.split("/"))


def _matches(pattern: list[str], path: list[str]) -> bool:
    """Match step by step; a pattern that ends at a folder takes what lies below."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return _matches(pattern[1:], path) or (bool(path) and _matches(pattern, path[1:]))
    if not path:
        return False
    return fnmatch.fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])


def walk(root: Path, ignore: Ignore) -> Iterator[str]:
    """Yield the paths of all files that no ignore rule leaves out, links to files included.

    What is no file is passed by: pipes, sockets, links that lead nowhere.
    """
    for folder, folders, files in os.walk(root):
        base = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if base == "." else base + "/"
        folders[:] = sorted(
            name for name in folders if not ignore.matches(prefix + name, is_dir=True)
        )
        for name in sorted(files):
            if (
                not name.startswith(TEMPORARY)
                and not ignore.matches(prefix + name, is_dir=False)
                and os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118
            ):
                yield prefix + name


def check_name(path: str) -> None:
    """Refuse a path that no tree can name, `InvalidName`: bytes that are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidName(
            f"the name of {path.encode(errors='replace').decode()!r} is not UTF-8",
            hint="rename the file, or name it in .thetaignore",
        ) from None
