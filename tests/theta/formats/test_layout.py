"""Layouts: one spelling, golden bytes for each kind of segment, and lawful by construction."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.formats import layout as module
from theta.formats.layout import (
    Builder,
    Computed,
    Layout,
    Literal,
    Named,
    Scatter,
    Segment,
    Span,
    decode_layout,
    encode_layout,
    layout_size,
)
from theta_store.errors import ForeignRepository, InvalidName, MalformedFile, MalformedRecord

GOLDEN = Path(__file__).parents[2] / "golden" / "layouts"

# One layout per kind of segment; a golden file holds its bytes in hex. They can never change.
EXAMPLES: dict[str, Layout] = {
    "empty": Layout(0, ()),
    "literal": Layout(3, (Literal(b"\x00ab"),)),
    "span": Layout(24, (Span("h.0.weight", 0, 24),)),
    "span_part": Layout(300, (Span("é", 100, 400, None, 2),)),
    "span_axes": Layout(24, (Span("w", 0, 24, (1, 0), 4),)),
    "scatter": Layout(10, (Scatter("x", (4, 2), 1, 2, bytes(9) + b"\x07"),)),
    "computed": Layout(9, (Literal(b"12345"), Computed("crc32", 0, 5))),
    "named": Layout(40, (Named("serialization_id", 40),)),
    "all": Layout(
        66,
        (
            Literal(b"PK"),
            Computed("crc32", 6, 30),
            Span("", 0, 16, (0, 1), 0),
            Scatter("s", (2,), 0, 0, b"\x00\x01\x00\x02\x00\x03\x00\x04"),
            Computed("crc32", 6, 30),
            Literal(b"end"),
            Named("id", 29),
        ),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_bytes_are_golden(name: str) -> None:
    golden = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    assert encode_layout(EXAMPLES[name]).hex() == golden.hex()
    assert decode_layout(golden) == EXAMPLES[name]


def test_there_is_no_golden_file_without_a_layout() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(EXAMPLES)


words = st.sampled_from([0, 2, 4, 8, 16])
segments: st.SearchStrategy[Segment] = st.one_of(
    st.builds(Literal, st.binary(min_size=1, max_size=300)),
    st.builds(
        lambda name, start, size, rank, swap: Span(name, start, start + size, rank, swap),
        st.text(max_size=5),
        st.integers(0, 2**40),
        st.integers(1, 2**40),
        st.none() | st.integers(0, 4).flatmap(lambda n: st.permutations(range(n)).map(tuple)),
        words,
    ),
    st.builds(
        Scatter,
        st.text(max_size=5),
        st.lists(st.integers(0, 2**33), max_size=3).map(tuple),
        st.just(0),
        words,
        st.binary(min_size=1, max_size=30),
    ),
    st.builds(Named, st.text(max_size=5), st.integers(1, 2**32)),
)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    builder = Builder()
    for segment in draw(st.lists(segments, max_size=6)):
        if isinstance(segment, Literal):
            builder.literal(segment.data)
        else:
            builder.add(segment)
    covered = builder.size
    for _ in range(draw(st.integers(0, 2))):
        builder.add(Computed("crc32", 0, covered))
    return builder.build()


@given(layouts())
def test_a_layout_survives_and_has_one_spelling(layout: Layout) -> None:
    encoded = encode_layout(layout)
    assert decode_layout(encoded) == layout
    assert layout_size(encoded) == layout.size
    assert decode_layout(memoryview(encoded)) == layout
    assert encode_layout(decode_layout(encoded)) == encoded


@given(layouts(), st.data())
def test_changed_bytes_are_refused_or_spell_something_else(
    layout: Layout, data: st.DataObject
) -> None:
    encoded = bytearray(encode_layout(layout))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_layout(bytes(encoded))
    except (MalformedRecord, ForeignRepository):
        return
    assert encode_layout(other) == encoded


def _spelled(*segments: list[object], size: int) -> bytes:
    return b"\x07\x01" + msgspec.msgpack.encode([size, list(segments)])


BAD: dict[str, bytes] = {
    "nothing": b"",
    "one byte": b"\x07",
    "a record": b"\x04\x01\x92\x01\x90",
    "no content": b"\x07\x01",
    "cut": encode_layout(EXAMPLES["all"])[:-1],
    "longer": encode_layout(EXAMPLES["all"]) + b"\x00",
    "long integer": b"\x07\x01\x92\xcc\x00\x90",
    "surplus field": b"\x07\x01" + msgspec.msgpack.encode([0, [], 1]),
    "deep": b"\x07\x01" + b"\x91" * 100_000,
    "unknown segment": _spelled([9, b"x"], size=1),
    "wrong size": _spelled([0, b"x"], size=2),
    "empty literal": _spelled([0, b""], size=0),
    "two literals": _spelled([0, b"a"], [0, b"b"], size=2),
    "text for bytes": _spelled([0, "a"], size=1),
    "empty span": _spelled([1, "x", 3, 3, None, 0], size=0),
    "negative span": _spelled([1, "x", -3, 3, None, 0], size=6),
    "span without swap": _spelled([1, "x", 0, 3, None], size=3),
    "odd word": _spelled([1, "x", 0, 3, None, 3], size=3),
    "axes twice": _spelled([1, "x", 0, 3, [0, 0], 0], size=3),
    "axes missing": _spelled([1, "x", 0, 3, [1, 2], 0], size=3),
    "too many axes": _spelled([1, "x", 0, 3, list(range(65)), 0], size=3),
    "offset outside": _spelled([2, "x", [1], 3, 0, b"abc"], size=3),
    "backward stride": _spelled([2, "x", [-1], 0, 0, b"abc"], size=3),
    "unknown checksum": _spelled([3, "md5", 0, 0], size=4),
    "checksum outside": _spelled([3, "crc32", 4, 5], size=4),
    "checksum of itself": _spelled([3, "crc32", 0, 4], size=4),
    "checksum of a checksum": _spelled([0, b"a"], [3, "crc32", 0, 1], [3, "crc32", 0, 2], size=9),
    "checksum touching one": _spelled([3, "crc32", 3, 5], [0, b"ab"], size=6),
    "checksums that overlap": _spelled(
        [0, b"abcd"], [3, "crc32", 0, 3], [3, "crc32", 1, 4], size=12
    ),
    "empty named": _spelled([4, "id", 0], size=0),
}


@pytest.mark.parametrize("name", BAD)
def test_unlawful_bytes_are_malformed(name: str) -> None:
    with pytest.raises(MalformedRecord):
        decode_layout(BAD[name])


def test_checksums_may_share_a_range_or_touch() -> None:
    parts = (Literal(b"abcd"), Computed("crc32", 0, 2), Computed("crc32", 2, 4))
    Layout(16, (*parts, Computed("crc32", 0, 2)))
    Layout(4, (Computed("crc32", 4, 4),))


def test_a_newer_layout_is_newer_not_corrupt() -> None:
    with pytest.raises(ForeignRepository, match="newer"):
        decode_layout(b"\x07\x02\x92\x00\x90")
    with pytest.raises(ForeignRepository, match="newer"):
        layout_size(b"\x07\x02\x92\x00\x90")
    with pytest.raises(MalformedRecord):
        layout_size(b"\x07\x01\x90")


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidName):
        encode_layout(Layout(1, (Span("\ud800", 0, 1),)))


def test_the_builder_merges_literals() -> None:
    builder = Builder()
    for data in (b"", b"a", b"", b"b"):
        builder.literal(data)
    builder.add(Span("x", 0, 4))
    builder.literal(b"c")
    assert builder.size == 7
    layout = builder.build()
    assert layout.segments == (Literal(b"ab"), Span("x", 0, 4), Literal(b"c"))
    assert list(layout.placed()) == [(0, Literal(b"ab")), (2, Span("x", 0, 4)), (6, Literal(b"c"))]


@pytest.mark.parametrize(
    "grow",
    [
        lambda builder: builder.literal(b"12345"),
        lambda builder: builder.add(Scatter("x", (1,), 0, 0, b"12345")),
    ],
    ids=["literal", "scatter"],
)
def test_a_file_of_mostly_other_bytes_is_refused(
    monkeypatch: pytest.MonkeyPatch, grow: Callable[[Builder], None]
) -> None:
    monkeypatch.setattr(module, "LITERAL_BYTES", 9)
    builder = Builder()
    builder.add(Span("big", 0, 2**40))
    grow(builder)
    with pytest.raises(MalformedFile, match="no tensor"):
        grow(builder)
