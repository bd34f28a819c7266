"""Checkpoint files on disk, opened when a parameter's values are wanted, a few at a time.

Owns the open files and the way from a parameter's name to the file that holds it. Must not know
what is compared, nor the store.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from theta_store.errors import ResourceError
from theta_store.records import Tensor

if TYPE_CHECKING:
    from theta.formats.reading import FileReader, Source

MOST_OPEN = 16


class _Scanned(msgspec.Struct, frozen=True):
    reader: "FileReader"
    sources: "Mapping[str, Source]"


class OpenFiles:
    """Files read by parameter, from any thread; use it as a context manager or call `close`."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, _Scanned] = OrderedDict()
        self._homes: dict[tuple[Path, ...], dict[str, Path]] = {}
        # One reader at a time: a file must not be closed while another thread reads it.
        self._lock = threading.Lock()

    def read(
        self, parts: Sequence[Path], name: str, tensor: Tensor, start: int, out: memoryview
    ) -> None:
        """Fill ``out`` with a parameter's plain bytes from ``start``.

        ``parts`` are the files of one checkpoint. A file in which the tensor is no longer what its
        record says has changed, a `ResourceError`.
        """
        with self._lock:
            self._read(tuple(parts), name, tensor, start, out)

    def _read(
        self, parts: tuple[Path, ...], name: str, tensor: Tensor, start: int, out: memoryview
    ) -> None:
        home = self._home(parts, name)
        source = None if home is None else self._scanned(home).sources.get(name)
        if source is None or (source.dtype, tuple(source.shape)) != (tensor.dtype, tensor.shape):
            raise ResourceError(
                f"{parts[0]} changed while it was compared",
                hint="wait until the program that writes it is done, then retry",
            )
        source.read_into(start, out)

    def _home(self, parts: tuple[Path, ...], name: str) -> Path | None:
        if parts not in self._homes:
            self._homes[parts] = {
                found: part for part in parts for found in self._scanned(part).sources
            }
        return self._homes[parts].get(name)

    def _scanned(self, path: Path) -> _Scanned:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        while len(self._open) >= MOST_OPEN:
            self._open.popitem(last=False)[1].reader.close()
        self._open[path] = _scan(path)
        return self._open[path]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()


def _scan(path: Path) -> _Scanned:
    from theta.formats import HEAD_BYTES, recognise
    from theta.formats.reading import FileReader

    reader = FileReader(path)
    try:
        found = recognise(reader.read(0, min(HEAD_BYTES, reader.size)), path.name)
        if found is None:
            return _Scanned(reader, {})
        scan = found.scan(reader)
    except BaseException:
        reader.close()
        raise
    tied = {alias: scan.tensors[name] for alias, name in scan.aliases.items()}
    return _Scanned(reader, {**scan.tensors, **tied})
