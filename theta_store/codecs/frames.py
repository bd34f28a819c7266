"""Zstandard frames of a known size: the settings, and decoding that cannot be made to explode.

Owns the two compressors (general and Huffman only) and the check of a frame's declared size before
a byte is decoded. Must not know how payloads are built of frames.
"""

from collections.abc import Sequence

import zstandard

from theta_store.errors import IntegrityError
from theta_store.scratch import Scratch

# Strategy fast with target_length 0 keeps Huffman coding of literals on while the search for
# matches costs next to nothing: the order-0 entropy limit, faster than level 1.
HUFFMAN = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    target_length=0,
    write_content_size=True,
)
GENERAL_LEVEL = 3


def huffman(plain: memoryview, scratch: Scratch) -> bytes:
    """Return one frame, coded for the entropy of single bytes."""
    return _huffman_tool(scratch).compress(plain)


def huffman_groups(plain: memoryview, bounds: Sequence[int], scratch: Scratch) -> bytes:
    """Return one ordinary frame in which each group of bytes has an entropy table of its own.

    ``bounds`` are the ends of the groups, ascending, the last one the length of ``plain``.
    """
    stream = _huffman_tool(scratch).compressobj(size=len(plain))
    parts = []
    start = 0
    for stop in bounds[:-1]:
        parts.append(stream.compress(plain[start:stop]))
        parts.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        start = stop
    parts += [stream.compress(plain[start:]), stream.flush()]
    return b"".join(parts)


def general(plain: memoryview, scratch: Scratch) -> bytes:
    """Return one frame, coded for repetitions."""
    tool = scratch.tool("general", lambda: zstandard.ZstdCompressor(level=GENERAL_LEVEL))
    return tool.compress(plain)


def _huffman_tool(scratch: Scratch) -> zstandard.ZstdCompressor:
    return scratch.tool("huffman", lambda: zstandard.ZstdCompressor(compression_params=HUFFMAN))


def expand(frame: memoryview, size: int, scratch: Scratch) -> bytes:
    """Return the ``size`` bytes of a frame; anything else is an `IntegrityError`."""
    tool = scratch.tool("decompressor", zstandard.ZstdDecompressor)
    try:
        declared = zstandard.frame_content_size(frame)
        if declared != size:
            raise IntegrityError(f"a frame declares {declared} bytes where {size} are expected")
        return tool.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"a zstd frame is damaged: {error}") from None
