"""ZipNN's scheme, re-implemented: sign rotated away, bytes grouped by place, each Huffman-coded.

Owns the split and the Huffman stage (zstd's, with the search for matches off), 256 KiB at a time.
Every file is compressed by itself: ZipNN knows no history.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import zstandard

from benchmarks.storage.contents import Array, Plain, is_embedding, read_contents
from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Measured, Scheme

CHUNK = 256 << 10
_FLOATS = frozenset({"F64", "F32", "BF16"})
_HUFFMAN = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        window_log=17,
        hash_log=6,
        chain_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
    )
)
_GENERAL = zstandard.ZstdCompressor(level=3)


def zipnn(history: History) -> Measured:
    """Count every file compressed by itself."""
    return Measured(tuple(_file(step.path) for step in history.steps))


@lru_cache(maxsize=256)
def _file(path: Path) -> Cost:
    """Return the cost of one file, which several histories may hold."""
    contents = read_contents(path)
    sizes = {name: tensor_bytes(array) for name, array in contents.tensors.items()}
    embedding = sum(size for name, size in sizes.items() if is_embedding(name))
    return Cost(sum(sizes.values()) + len(_GENERAL.compress(contents.other)), embedding)


def tensor_bytes(array: Array) -> int:
    """Return the compressed bytes of a tensor."""
    plain = _rotated(array) if array.dtype in _FLOATS else array.plain
    return sum(
        _chunk(plain[at : at + CHUNK], array.width) for at in range(0, array.plain.size, CHUNK)
    )


def _rotated(array: Array) -> Plain:
    """Move the sign to the lowest bit, so that the highest byte is the exponent."""
    words = array.plain.view(f"<u{array.width}")
    one, rest = words.dtype.type(1), words.dtype.type(8 * array.width - 1)
    return (words << one | words >> rest).view(np.uint8)


def _chunk(plain: Plain, width: int) -> int:
    groups = [plain[place::width].tobytes() for place in range(width)]
    return sum(min(len(group), len(_HUFFMAN.compress(group))) for group in groups)


ZIPNN = Scheme(
    "ZipNN", "re-implementation", "sign rotation, byte groups, Huffman; 256 KiB chunks", zipnn
)
