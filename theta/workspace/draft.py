"""A file on its way: written under a name of its own, put in its place when it is whole.

Owns the temporary file (room on the disk, fsync, rename), and which tensors of a checkpoint's file
were written while they were made. Must not decide which files to write, nor make tensors.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from theta.formats.layout import decode_layout
from theta.formats.writing import FileWriter
from theta_store.errors import DiskFull
from theta_store.ids import TensorId
from theta_store.records import File, Tensor
from theta_store.store import Sink, Store

if TYPE_CHECKING:
    from theta.formats.base import TensorSpec

TEMPORARY = ".theta-tmp-"


@contextmanager
def replacing(target: Path, size: int, *, executable: bool) -> Iterator[FileWriter]:
    """Lend a temporary file that takes the target's place when all went well."""
    out = _begun(target, size, executable=executable)
    try:
        yield out
        _put_in_place(out, target)
    except BaseException:
        out.discard()
        raise


@dataclass(frozen=True)
class _Several:
    """Gives the same bytes to several sinks: of names that get one tensor."""

    sinks: tuple[Sink, ...]

    def write(self, start: int, plain: memoryview) -> None:
        """Give the bytes at ``start`` on."""
        for sink in self.sinks:
            sink.write(start, plain)


class Draft:
    """One file of a checkpoint: what is no tensor's is written, the tensors are awaited.

    Tensors may come before their ids are known: whoever writes them by `give` says by `settle`
    what they were.
    """

    def __init__(
        self,
        store: Store,
        target: Path,
        file: File,
        tensors: Mapping[str, Tensor],
        *,
        executable: bool,
    ) -> None:
        from theta.formats.joining import plan_join

        self._target = target
        self._file = file
        self._specs = _specs(tensors)
        self._executable = executable
        self._given: dict[str, TensorId | None] = {}
        layout = decode_layout(store.read_bytes(file.layout))
        self._out = _begun(target, layout.size, executable=executable)
        try:
            self._plan = plan_join(layout, file.literals, self._out, self._specs)
        except BaseException:
            self._out.discard()
            raise

    @property
    def path(self) -> Path:
        """Where it lies until it is whole."""
        return self._out.path

    @property
    def given(self) -> frozenset[str]:
        """The names whose bytes came, or come, by `give`."""
        return frozenset(self._given)

    @property
    def missing(self) -> dict[str, Sink]:
        """Where the bytes of all other tensors go."""
        return {n: sink for n, sink in self._plan.sinks.items() if n not in self._given}

    def give(self, names: Collection[str]) -> Sink | None:
        """Return where the bytes of a tensor of these names go; None where the file has none."""
        own = [name for name in names if name in self._plan.sinks]
        self._given |= dict.fromkeys(own)
        return _Several(tuple(self._plan.sinks[name] for name in own)) if own else None

    def settle(self, names: Collection[str], tensor: TensorId) -> None:
        """Say which tensor the bytes were that came for these names."""
        self._given |= {name: tensor for name in names if name in self._given}

    def becomes(
        self,
        file: File,
        ids: Mapping[str, TensorId],
        tensors: Mapping[str, Tensor],
        *,
        executable: bool,
    ) -> bool:
        """Say whether this is that file, as far as it is written."""
        return (
            (self._file, self._executable) == (file, executable)
            and self._specs == _specs(tensors)
            and all(ids.get(name) == tensor for name, tensor in self._given.items())
        )

    def finish(self) -> None:
        """Put the file in its place; every byte must have come."""
        try:
            self._plan.finish()
            _put_in_place(self._out, self._target)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the file, unless it is in its place."""
        self._out.discard()


def _specs(tensors: Mapping[str, Tensor]) -> "dict[str, TensorSpec]":
    from theta.formats.base import TensorSpec

    return {name: TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()}


def _begun(target: Path, size: int, *, executable: bool) -> FileWriter:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < size:
        raise DiskFull(
            f"{target.name} needs {size >> 20} MiB, {free >> 20} MiB are free; "
            "the file was left as it is",
            hint="theta gc --dry-run",
        )
    name = f"{TEMPORARY}{os.urandom(6).hex()}"
    return FileWriter(target.parent / name, size, mode=0o777 if executable else 0o666)


def _put_in_place(out: FileWriter, target: Path) -> None:
    out.sync()
    out.close()
    out.path.replace(target)
