"""CRC-32 of a file's ranges, put together from the CRC-32 of its parts.

Owns the arithmetic (GF(2), as zlib's ``crc32_combine``) and its use on a layout. Must not know
what the ranges are for.
"""

import bisect
import functools
import itertools
import zlib
from collections.abc import Callable, Mapping

from theta.formats.layout import Computed, Layout, Literal, Named, Scatter, Span
from theta.formats.reading import FileReader
from theta_store.errors import MalformedRecord

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_BLOCK = 1 << 20


def crc32_combine(crc1: int, crc2: int, len2: int) -> int:
    """Return the CRC-32 of two runs of bytes, given that of each and the second's length."""
    return _multiply(_power(len2), crc1) ^ crc2


def crc_of_file(file: FileReader, start: int, stop: int) -> int:
    """Return the CRC-32 of bytes ``start`` to ``stop`` of a file, read in blocks of 1 MiB."""
    crc = 0
    block = memoryview(bytearray(min(_BLOCK, max(stop - start, 0))))
    for at in range(start, stop, _BLOCK):
        part = block[: min(_BLOCK, stop - at)]
        file.read_into(at, part)
        crc = zlib.crc32(part, crc)
    return crc


def crc_of(
    layout: Layout,
    start: int,
    stop: int,
    literals: Mapping[str, bytes],
    span_crcs: Mapping[str, int],
) -> int:
    """Return the CRC-32 of bytes ``start`` to ``stop`` of the file that the layout describes.

    ``span_crcs`` holds the CRC-32 of each tensor's plain bytes. The range must consist of literals
    and of spans that are a whole tensor in plain order; anything else is a `MalformedRecord`.
    """
    return LayoutChecksums(layout, by_tensor(layout, literals, span_crcs)).of(start, stop)


def by_tensor(
    layout: Layout, literals: Mapping[str, bytes], span_crcs: Mapping[str, int]
) -> Callable[[int], int]:
    """Return the CRC-32 of a segment, by its index, from that of whole plain tensors."""
    sizes = span_bytes(layout)

    def crc_at(index: int) -> int:
        match layout.segments[index]:
            case Literal(data):
                return zlib.crc32(data)
            case Named(label):
                return zlib.crc32(literals[label])
            case Span(name) as span if name in span_crcs and is_whole(span, sizes):
                return span_crcs[name]
            case Span(name) | Scatter(name):
                raise MalformedRecord(f"the checksum of {name!r} is not known in this order")
            case Computed():
                raise MalformedRecord("a checksum covers a checksum")

    return crc_at


def span_bytes(layout: Layout) -> Mapping[str, int]:
    """Return how many bytes of each tensor the layout's spans hold."""
    sizes: dict[str, int] = {}
    for segment in layout.segments:
        if isinstance(segment, Span):
            sizes[segment.name] = sizes.get(segment.name, 0) + segment.size
    return sizes


def is_whole(span: Span, sizes: Mapping[str, int]) -> bool:
    """Say whether a span is all of its tensor, in the order of the plain bytes."""
    return span.plain and span.size == sizes[span.name]


class LayoutChecksums:
    """CRC-32 of ranges of a layout's file; ``crc_at`` gives that of a segment, by its index."""

    def __init__(self, layout: Layout, crc_at: Callable[[int], int]) -> None:
        self._layout = layout
        self._crc_at = crc_at
        sizes = (segment.size for segment in layout.segments)
        self._offsets = list(itertools.accumulate(sizes, initial=0))

    def segments(self, start: int, stop: int) -> range:
        """Return the indices of the segments that have bytes between ``start`` and ``stop``."""
        if start < 0 or stop > self._offsets[-1]:
            raise MalformedRecord(f"bytes {start} to {stop} lie outside the layout")
        if start >= stop:
            return range(0)
        first = bisect.bisect_right(self._offsets, start) - 1
        return range(first, bisect.bisect_left(self._offsets, stop))

    def of(self, start: int, stop: int) -> int:
        """Return the CRC-32 of bytes ``start`` to ``stop``; only literals may be cut."""
        crc = 0
        for index in self.segments(start, stop):
            offset, segment = self._offsets[index], self._layout.segments[index]
            low, high = max(start - offset, 0), min(stop - offset, segment.size)
            if high - low == segment.size:
                part = self._crc_at(index)
            elif isinstance(segment, Literal):
                part = zlib.crc32(memoryview(segment.data)[low:high])
            else:
                raise MalformedRecord("a checksum covers part of a tensor's bytes")
            crc = crc32_combine(crc, part, high - low)
        return crc


def _multiply(left: int, right: int) -> int:
    """Multiply two polynomials over GF(2), modulo the CRC's; bits are reflected, as in zlib."""
    product = 0
    for shift in range(31, -1, -1):
        if left >> shift & 1:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
    return product


@functools.lru_cache(maxsize=1024)
def _power(length: int) -> int:
    """Return x to the power of ``8 * length``: appending that many bytes."""
    result, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        length >>= 1
    return result
