"""The layout: everything of a checkpoint file that is not tensor data, as a list of segments.

Owns the kinds of segment and the canonical bytes of a layout (a blob's content: kind byte 7,
version byte 1, MessagePack). Must not know any format: joining a file needs this list only, so
an old commit never depends on today's parser.

Segments tile the file: they follow one another without gap or overlap. The rules below are
checked on construction, so a layout that exists is lawful; a breach is a `MalformedRecord`.
"""

import bisect
import itertools
import typing
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from theta_store.errors import ForeignRepository, InvalidName, MalformedFile, MalformedRecord

KIND_BYTE = 7
VERSION = 1
LITERAL_BYTES = 1 << 30
CRC_BYTES = 4

_WORDS = (0, 2, 4, 8, 16)
_AXES = 64


class _Segment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What all segments share: immutability and array-shaped MessagePack, tagged by an integer."""


class Literal(_Segment, frozen=True, tag=0):
    """Bytes that stand in the file as they are; never empty, never next to another literal."""

    data: bytes

    def __post_init__(self) -> None:
        _law(bool(self.data), "a literal is not empty")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self.data)


class Span(_Segment, frozen=True, tag=1):
    """Bytes ``start`` to ``stop`` of tensor ``name`` in *source order*.

    Source order: the array transposed by ``axes`` (None: as it is), made contiguous, each word of
    ``swap`` bytes turned round (0: none). A tensor without bytes has no span.
    """

    name: str
    start: int
    stop: int
    axes: tuple[int, ...] | None = None
    swap: int = 0

    def __post_init__(self) -> None:
        if 0 <= self.start < self.stop and self.axes is None and self.swap == 0:
            return
        _law(0 <= self.start < self.stop, "a span runs forward")
        _law(self.swap in _WORDS, "a word is of 2, 4, 8 or 16 bytes")
        axes = self.axes
        if axes is not None:
            _law(len(axes) <= _AXES and sorted(axes) == list(range(len(axes))), "axes permute")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.stop - self.start

    @property
    def plain(self) -> bool:
        """Whether source order is the order of the plain bytes."""
        return self.axes is None and self.swap == 0


class Scatter(_Segment, frozen=True, tag=2):
    """A region in which the whole tensor lies with gaps.

    Element [i, j, …] lies at ``offset + i * strides[0] + j * strides[1] + …`` (bytes), its words
    of ``swap`` bytes turned round; ``background`` is the whole region, zero where elements lie.
    """

    name: str
    strides: tuple[int, ...]
    offset: int
    swap: int
    background: bytes

    def __post_init__(self) -> None:
        _law(0 <= self.offset < len(self.background), "elements lie inside their region")
        _law(len(self.strides) <= _AXES and min(self.strides, default=0) >= 0, "strides go forward")
        _law(self.swap in _WORDS, "a word is of 2, 4, 8 or 16 bytes")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self.background)


class Computed(_Segment, frozen=True, tag=3):
    """Four bytes, little-endian: the CRC-32 of bytes ``start`` to ``stop`` of the finished file.

    Two computed segments cover the same bytes or none in common, and no computed segment.
    """

    algorithm: typing.Literal["crc32"]
    start: int
    stop: int

    def __post_init__(self) -> None:
        _law(0 <= self.start <= self.stop, "a checksum covers a range")

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return CRC_BYTES


class Named(_Segment, frozen=True, tag=4):
    """``size`` bytes that change with every save; kept outside, under ``label``."""

    label: str
    size: int

    def __post_init__(self) -> None:
        _law(self.size > 0, "a named literal is not empty")


Segment = Literal | Span | Scatter | Computed | Named


class Layout(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The segments of a file of ``size`` bytes, in order."""

    size: int
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        _law(sum(map(_size_of, self.segments)) == self.size, "segments fill the file")
        literals = (place for place, s in enumerate(self.segments) if type(s) is Literal)
        for left, right in itertools.pairwise(literals):
            _law(left + 1 < right, "literals merge")
        if any(type(segment) is Computed for segment in self.segments):
            _check_computed(self)

    def placed(self) -> Iterator[tuple[int, Segment]]:
        """Yield each segment with its offset in the file."""
        offset = 0
        for segment in self.segments:
            yield offset, segment
            offset += segment.size


class Builder:
    """Collects segments in file order and merges neighbouring literals.

    More than 1 GiB of literal bytes is a `MalformedFile`: such a file is no checkpoint.
    """

    def __init__(self) -> None:
        self.size = 0
        self._segments: list[Segment] = []
        self._run: list[bytes] = []
        self._literal = 0

    def literal(self, data: bytes) -> None:
        """Add bytes as they are; none is allowed."""
        if data:
            self._grow(len(data), literal=len(data))
            self._run.append(data)

    def add(self, segment: Span | Scatter | Computed | Named) -> None:
        """Add any other segment."""
        if self._run:
            self._flush()
        self._grow(segment.size, literal=segment.size if isinstance(segment, Scatter) else 0)
        self._segments.append(segment)

    def build(self) -> Layout:
        """Return the layout; the builder is used up."""
        if self._run:
            self._flush()
        return Layout(self.size, tuple(self._segments))

    def _grow(self, size: int, *, literal: int) -> None:
        self.size += size
        self._literal += literal
        if self._literal > LITERAL_BYTES:
            raise MalformedFile(f"more than {LITERAL_BYTES} bytes of the file belong to no tensor")

    def _flush(self) -> None:
        self._segments.append(Literal(b"".join(self._run)))
        self._run = []


_size_of = attrgetter("size")
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(Layout)
_SIZE = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])


def encode_layout(layout: Layout) -> bytes:
    """Return the canonical bytes of a layout; a name that is not valid UTF-8 is refused."""
    try:
        return bytes((KIND_BYTE, VERSION)) + _ENCODER.encode(layout)
    except UnicodeEncodeError:
        raise InvalidName("a parameter name is not valid UTF-8") from None


def decode_layout(data: bytes | memoryview) -> Layout:
    """Return the layout that these canonical bytes spell; anything else is `MalformedRecord`.

    Another version is a `ForeignRepository`: newer, not corrupt.
    """
    try:
        layout = _DECODER.decode(_body(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a layout: {error}") from None
    if encode_layout(layout) != data:
        raise MalformedRecord("a layout is not in canonical form")
    return layout


def layout_size(data: bytes | memoryview) -> int:
    """Return the size of the file that a layout's bytes claim; the segments are not looked at."""
    try:
        return _SIZE.decode(_body(data))[0]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedRecord(f"not a layout: {error}") from None


def _body(data: bytes | memoryview) -> memoryview:
    if len(data) < 2 or data[0] != KIND_BYTE:
        raise MalformedRecord("the bytes are not a layout")
    if data[1] != VERSION:
        raise ForeignRepository(
            f"a layout of version {data[1]} needs a newer theta",
            hint="pip install --upgrade theta-vcs",
        )
    return memoryview(data)[2:]


def _law(holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedRecord(f"a layout breaks a rule: {rule}")


def _check_computed(layout: Layout) -> None:
    # Disjoint ranges keep the work of joining linear in the number of segments.
    computed = [(at, seg) for at, seg in layout.placed() if isinstance(seg, Computed)]
    ranges = sorted({(segment.start, segment.stop) for _, segment in computed})
    for left, right in itertools.pairwise(ranges):
        _law(left[1] <= right[0], "checksums cover the same bytes or none in common")
    _law(not ranges or ranges[-1][1] <= layout.size, "a checksum covers bytes of the file")
    for at, _ in computed:
        before = bisect.bisect_left(ranges, (at + CRC_BYTES,)) - 1
        _law(before < 0 or ranges[before][1] <= at, "a checksum covers no checksum")
