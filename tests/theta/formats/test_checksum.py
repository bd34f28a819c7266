"""CRC-32 of a file from the CRC-32 of its parts, against zlib over the bytes."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.formats.base import CrcCheck, Scan, settle_checks, verify_checks
from theta.formats.checksum import crc32_combine, crc_of, crc_of_file
from theta.formats.layout import Builder, Computed, Layout, Literal, Named, Scatter, Span
from theta.formats.reading import FileReader, FileSource
from theta_store.errors import MalformedFile, MalformedRecord


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combine_is_the_checksum_of_both(left: bytes, right: bytes) -> None:
    combined = crc32_combine(zlib.crc32(left), zlib.crc32(right), len(right))
    assert combined == zlib.crc32(left + right)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_combining_piece_by_piece_is_the_checksum_of_all(pieces: list[bytes]) -> None:
    crc = 0
    for piece in pieces:
        crc = crc32_combine(crc, zlib.crc32(piece), len(piece))
    assert crc == zlib.crc32(b"".join(pieces))


@pytest.mark.parametrize("size", [1, 255, 4096, 1 << 20, (1 << 20) + 1])
def test_combine_knows_long_runs(size: int) -> None:
    zeros = bytes(size)
    crc = crc32_combine(zlib.crc32(b"abc"), zlib.crc32(zeros), size)
    assert crc == zlib.crc32(zeros, zlib.crc32(b"abc"))


def test_combine_knows_runs_that_fit_no_memory() -> None:
    one = zlib.crc32(bytes(1 << 16))
    crc, size = one, 1 << 16
    while size < 1 << 45:
        crc, size = crc32_combine(crc, crc, size), size * 2
    half = 1 << 44
    left, at = one, 1 << 16
    while at < half:
        left, at = crc32_combine(left, left, at), at * 2
    assert crc32_combine(left, left, half) == crc


PLAIN = b"tensor bytes"
OTHER = b"0123"
LAYOUT = Layout(
    44,
    (
        Literal(b"head"),
        Span("t", 0, 12),
        Named("id", 3),
        Span("o", 0, 2),
        Literal(b"mid"),
        Span("o", 2, 4),
        Span("p", 0, 4, (1, 0)),
        Scatter("s", (2,), 0, 0, b"\x00x\x00x"),
        Computed("crc32", 4, 16),
        Literal(b"ending"),
    ),
)
PERMUTED = b"adbc"
SCATTERED = b"1x2x"
FILE = b"".join((b"head", PLAIN, b"abc", OTHER[:2], b"mid", OTHER[2:], PERMUTED, SCATTERED)) + (
    zlib.crc32(PLAIN).to_bytes(4, "little") + b"ending"
)
LITERALS = {"id": b"abc"}
CRCS = {"t": zlib.crc32(PLAIN), "o": zlib.crc32(OTHER)}


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (1, 3), (4, 16), (2, 16), (0, 19), (16, 19), (39, 44), (44, 44)]
)
def test_ranges_of_literals_and_whole_tensors_are_known(start: int, stop: int) -> None:
    assert crc_of(LAYOUT, start, stop, LITERALS, CRCS) == zlib.crc32(FILE[start:stop])


@pytest.mark.parametrize(
    ("start", "stop"),
    [(5, 16), (17, 19), (19, 21), (26, 30), (30, 34), (34, 38), (-1, 2), (40, 45)],
)
def test_other_ranges_are_refused(start: int, stop: int) -> None:
    with pytest.raises(MalformedRecord):
        crc_of(LAYOUT, start, stop, LITERALS, CRCS)


def test_a_tensor_whose_checksum_is_missing_is_named() -> None:
    with pytest.raises(MalformedRecord, match="'t'"):
        crc_of(LAYOUT, 4, 16, LITERALS, {})


def test_a_file_is_read_in_blocks(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8200
    (tmp_path / "f").write_bytes(data)
    with FileReader(tmp_path / "f") as file:
        assert crc_of_file(file, 3, len(data) - 1) == zlib.crc32(data[3:-1])
        assert crc_of_file(file, 5, 5) == 0


def _check(start: int, stop: int, *, entry: str = "e", wrong: int = 0) -> CrcCheck:
    return CrcCheck(entry, start, stop, zlib.crc32(FILE[start:stop]) ^ wrong)


def test_only_what_tensors_can_settle_is_left_for_later(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(FILE)
    ranges = [(0, 4), (4, 16), (0, 19), (19, 21), (26, 30), (30, 34), (16, 34), (34, 44), (20, 20)]
    checks = [_check(*range_) for range_ in ranges]
    with FileReader(tmp_path / "f") as file:
        later = settle_checks(file, LAYOUT, LITERALS, checks)
    assert [(check.start, check.stop) for check in later] == [(4, 16), (0, 19)]


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (19, 21), (26, 30), (30, 34)])
def test_damage_that_the_scan_can_see_is_named(tmp_path: Path, start: int, stop: int) -> None:
    (tmp_path / "model.pt").write_bytes(FILE)
    check = _check(start, stop, entry="archive/data/3", wrong=1)
    with (
        FileReader(tmp_path / "model.pt") as file,
        pytest.raises(MalformedFile, match=r"model\.pt is damaged: entry archive/data/3 fails"),
    ):
        settle_checks(file, LAYOUT, LITERALS, [check])


def test_damage_to_a_tensor_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(FILE)
    builder = Builder()
    builder.literal(FILE[:4])
    builder.add(Span("t", 0, 12))
    builder.literal(FILE[16:])
    with FileReader(tmp_path / "model.pt") as file:
        source = FileSource(file, "U8", (12,), 4)
        check = _check(4, 16, entry="archive/data/3")
        scan = Scan("torch", 1, builder.build(), {}, {"t": source}, {}, (check,))
        verify_checks(scan, {"t": zlib.crc32(PLAIN)})
        with pytest.raises(MalformedFile, match=r"model\.pt is damaged: entry archive/data/3"):
            verify_checks(scan, {"t": zlib.crc32(PLAIN) ^ 1}, name="model.pt")
