"""The file that lies where another will be put, and what of it the other one has as well.

Owns whether it still is what it was when it was last looked at, and which of its tensors lie where
the other one has them. Must not write, nor vouch for bytes: what stands is as right as the file.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from theta.formats.layout import Computed, Layout, Scatter, Segment, Span
from theta.stat_cache import signature
from theta_store.ids import TensorId

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Original(msgspec.Struct, frozen=True):
    """A file of a model: its stat when it was last looked at, its layout, the model's tensors."""

    path: Path
    status: os.stat_result
    layout: Layout
    tensors: Mapping[str, TensorId]

    def standing(self, layout: Layout) -> dict[str, TensorId]:
        """Return the tensors that lie here where a file laid out like this has their names.

        None does in a file with checksums: these are of bytes that nobody would look at.
        """
        if any(isinstance(segment, Computed) for segment in layout.segments):
            return {}
        here = _places(self.layout)
        there = _places(layout)
        return {name: self.tensors[name] for name in there if there[name] == here.get(name)}

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """Lend a descriptor of the file that lies there now; None where none can be read."""
        try:
            number = os.open(self.path, _FLAGS)
        except OSError:
            yield None
            return
        try:
            yield number
        finally:
            os.close(number)

    def is_unchanged(self, number: int) -> bool:
        """Say whether an open file is this one, as it was."""
        return signature(os.fstat(number)) == signature(self.status)


def _places(layout: Layout) -> dict[str, list[tuple[int, Segment]]]:
    places: dict[str, list[tuple[int, Segment]]] = {}
    for offset, segment in layout.placed():
        if isinstance(segment, Span | Scatter):
            places.setdefault(segment.name, []).append((offset, segment))
    return places
