"""A file on its way: written under a name of its own, put in its place when it is whole.

Owns the temporary file (room on the disk, fsync, rename, the end of those whose process died), and
which tensors of a checkpoint's file were written while they were made. Must not decide which files
to write, nor make tensors.
"""

import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from theta.formats.layout import decode_layout
from theta.formats.writing import FileWriter, is_abandoned
from theta.workspace.original import Original
from theta_store.errors import DiskFull
from theta_store.ids import TensorId
from theta_store.records import File, Tensor
from theta_store.store import Sink, Store

if TYPE_CHECKING:
    from theta.formats.base import TensorSpec

TEMPORARY = ".theta-tmp-"
# Nobody takes longer to lock a file that he has made.
OLD_SECONDS = 60
# A smaller file is read again sooner than a clock moves on.
LEAST_SETTLED = 32 << 20
# Of a file of which less stays, sharing it makes more work than it saves.
LEAST_STANDING = 1 / 16


@contextmanager
def replacing(target: Path, size: int, *, executable: bool) -> Iterator[FileWriter]:
    """Lend a temporary file that takes the target's place when all went well."""
    out = begun(target, size, executable=executable)
    try:
        yield out
        put_in_place(out, target)
    except BaseException:
        out.discard()
        raise


class _Several(msgspec.Struct, frozen=True):
    """Gives the same bytes to several sinks: of names that get one tensor."""

    sinks: tuple[Sink, ...]

    def write(self, start: int, plain: memoryview) -> None:
        """Give the bytes at ``start`` on."""
        for sink in self.sinks:
            sink.write(start, plain)


class Planned(msgspec.Struct, frozen=True):
    """One file of a checkpoint, and the tensors of the whole checkpoint by name."""

    file: File
    ids: Mapping[str, TensorId]
    tensors: Mapping[str, Tensor]
    executable: bool


class Draft:
    """One file of a checkpoint: what is no tensor's is written, the tensors are awaited.

    Tensors may come before their ids are known: whoever writes them by `give` says by `settle`
    what they were; ``awaited`` names those that will. Where the file system can share bytes between
    files, those that the ``original`` in its place has already are not written again. ``room`` are
    the bytes that it takes on the disk.
    """

    room: int

    def __init__(
        self,
        store: Store,
        target: Path,
        planned: Planned,
        original: Original | None = None,
        awaited: Collection[str] = (),
    ) -> None:
        from theta.formats.joining import plan_join

        self._target = target
        self._planned = planned
        self._given: dict[str, TensorId | None] = {}
        self._specs = _specs(planned.tensors)
        layout = decode_layout(store.read_bytes(planned.file.layout))
        self._standing = {} if original is None else original.standing(layout)
        stays = self._standing_bytes(awaited)
        self._out = begun(
            target,
            layout.size,
            executable=planned.executable,
            original=original if stays > LEAST_STANDING * layout.size else None,
        )
        self.room = layout.size
        if self._out.cloned:
            self.room -= stays
        else:
            self._standing = {}
        try:
            if self._out.cloned:
                _check_room(target, self.room)
            self._plan = plan_join(layout, planned.file.literals, self._out, self._specs)
        except BaseException:
            self._out.discard()
            raise

    def _standing_bytes(self, awaited: Collection[str]) -> int:
        names = self.standing(self._planned.ids) - frozenset(awaited)
        return sum(self._planned.tensors[name].nbytes for name in names)

    @property
    def path(self) -> Path:
        """Where it lies until it is whole."""
        return self._out.path

    @property
    def names(self) -> frozenset[str]:
        """The tensors that are in it."""
        return frozenset(self._plan.sinks)

    def standing(self, ids: Mapping[str, TensorId]) -> frozenset[str]:
        """Return the names of tensors that need not come: they are in it already."""
        return frozenset(n for n, tensor in self._standing.items() if ids.get(n) == tensor)

    def missing(self, ids: Mapping[str, TensorId]) -> dict[str, Sink]:
        """Return where the bytes of tensors go that neither came nor stand."""
        there = self._given.keys() | self.standing(ids)
        return {name: sink for name, sink in self._plan.sinks.items() if name not in there}

    def give(self, names: Collection[str]) -> Sink | None:
        """Return where the bytes of a tensor of these names go; None where the file has none."""
        own = [name for name in names if name in self._plan.sinks]
        self._given |= dict.fromkeys(own)
        return _Several(tuple(self._plan.sinks[name] for name in own)) if own else None

    def settle(self, names: Collection[str], tensor: TensorId) -> None:
        """Say which tensor the bytes were that came for these names."""
        self._given |= {name: tensor for name in names if name in self._given}

    def becomes(self, planned: Planned) -> bool:
        """Say whether this is that file, as far as it is written."""
        old = self._planned
        return (
            (old.file, old.executable) == (planned.file, planned.executable)
            and self._specs == _specs(planned.tensors)
            and all(planned.ids.get(name) == tensor for name, tensor in self._given.items())
        )

    def finish(self, ids: Mapping[str, TensorId]) -> os.stat_result | None:
        """Put the file of these tensors in its place; what is missing must have come.

        Return the stat of what was written; None where somebody has changed it by then.
        """
        try:
            self._plan.finish(self.standing(ids))
            return put_in_place(self._out, self._target)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the file, unless it is in its place."""
        self._out.discard()


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that have died, where the system can tell."""
    if not folder.is_dir():
        return
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - OLD_SECONDS and is_abandoned(path):
                path.unlink()


def _specs(tensors: Mapping[str, Tensor]) -> "dict[str, TensorSpec]":
    from theta.formats.base import TensorSpec

    return {name: TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()}


def begun(
    target: Path, size: int, *, executable: bool, original: Original | None = None
) -> FileWriter:
    """Begin a file that will take the target's place, as a clone of an original where it can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / f"{TEMPORARY}{os.urandom(6).hex()}"
    mode = _mode(target, executable=executable)
    if original is not None:
        with original.opened() as origin:
            if origin is not None:
                out = FileWriter(path, size, mode=mode, origin=origin)
                if out.cloned and original.is_unchanged(origin):
                    return out
                out.discard()
    # Before it is made: a file system without holes gives it all of its room at once.
    _check_room(target, size)
    return FileWriter(path, size, mode=mode)


def _mode(target: Path, *, executable: bool) -> int:
    """Return the permission bits for a file: no more than the one in its place has, as to who may.

    Whoever made a model private meant its other versions as well.
    """
    try:
        old = stat.S_IMODE(target.stat().st_mode)
    except OSError:
        old = 0o666
    readers = old & 0o444
    return old & 0o666 | (readers >> 2 if executable else 0)


def _check_room(target: Path, size: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < size:
        raise DiskFull(
            f"{target.name} needs {size >> 20} MiB, {free >> 20} MiB are free; "
            "the file was left as it is",
            hint="theta gc --dry-run",
        )


def put_in_place(out: FileWriter, target: Path) -> os.stat_result | None:
    """Give a file its name; return its stat, not that of what may be there already instead."""
    out.sync()
    if out.size >= LEAST_SETTLED:
        out.settle()
    if os.name == "nt":  # an open file cannot be renamed there
        out.close()
        out.path.replace(target)
        return target.stat()
    before = out.stat()
    # It is locked until it has its name: nobody takes it for left behind.
    out.path.replace(target)
    after = out.stat()
    out.close()
    is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return after if is_same else None
