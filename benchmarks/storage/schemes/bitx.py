"""BitX, re-implemented exactly as the project's storage page defines it.

XOR with the same tensor of the previous commit, byte planes, zstd level 3 per plane, 1 MiB chunks,
the smaller of that and the same without XOR. Owns that and nothing else; its sizes are pinned by a
fixture. The same tensor: equal name, dtype and shape; the previous commit: the first parent. The
choice is made per chunk, and no frame, index or choice is counted, which favours it.
"""

from functools import lru_cache
from pathlib import Path

import zstandard

from benchmarks.storage.contents import Array, Plain, is_embedding, read_contents
from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Measured, Scheme

CHUNK = 1 << 20
LEVEL = 3
_ZSTD = zstandard.ZstdCompressor(level=LEVEL)


def bitx(history: History) -> Measured:
    """Count every commit against its first parent."""
    return Measured(tuple(_file(step.path, history.parent(step)) for step in history.steps))


@lru_cache(maxsize=256)
def _file(path: Path, parent: Path | None) -> Cost:
    """Return the cost of one file after another, a pair that several histories may hold."""
    contents = read_contents(path)
    bases = {} if parent is None else read_contents(parent).tensors
    sizes = {name: tensor_bytes(array, bases.get(name)) for name, array in contents.tensors.items()}
    embedding = sum(size for name, size in sizes.items() if is_embedding(name))
    return Cost(sum(sizes.values()) + len(_ZSTD.compress(contents.other)), embedding)


def tensor_bytes(array: Array, base: Array | None) -> int:
    """Return the compressed bytes of a tensor, given its older self or None."""
    older = base.plain if base is not None and array.fits(base) else None
    total = 0
    for at in range(0, array.plain.size, CHUNK):
        chunk = array.plain[at : at + CHUNK]
        size = _planes(chunk, array.width)
        if older is not None:
            size = min(size, _planes(chunk ^ older[at : at + CHUNK], array.width))
        total += size
    return total


def _planes(chunk: Plain, width: int) -> int:
    return sum(len(_ZSTD.compress(chunk[place::width].tobytes())) for place in range(width))


BITX = Scheme(
    "BitX",
    "re-implementation",
    "the smaller of XOR with the parent and none, byte planes, zstd 3, 1 MiB chunks",
    bitx,
)
