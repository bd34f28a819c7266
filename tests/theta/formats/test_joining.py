"""Any layout and its tensors make the file again, whatever the order in which bytes arrive."""

import errno
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.formats.round_trip import join
from theta.formats import writing
from theta.formats.base import TensorSpec
from theta.formats.joining import JoinPlan, plan_join
from theta.formats.layout import Builder, Computed, Layout, Literal, Named, Scatter, Span
from theta.formats.writing import FileWriter
from theta_store.dtypes import dtype
from theta_store.errors import DiskFull, MalformedRecord, ResourceError

F32 = np.arange(6, dtype="<f4").reshape(2, 3)
SPEC = TensorSpec("w", "F32", (2, 3))


def _joined(
    tmp_path: Path, layout: Layout, spec: TensorSpec, plain: bytes, **literals: bytes
) -> bytes:
    return join(layout, literals, {spec.name: spec}, {spec.name: plain}, tmp_path / "out")


def test_a_plain_tensor_lies_as_it_is(tmp_path: Path) -> None:
    layout = Layout(26, (Literal(b"a"), Span("w", 0, 24), Literal(b"z")))
    assert _joined(tmp_path, layout, SPEC, F32.tobytes()) == b"a" + F32.tobytes() + b"z"


def test_parts_of_a_tensor_may_lie_anywhere(tmp_path: Path) -> None:
    layout = Layout(25, (Span("w", 17, 24), Literal(b"-"), Span("w", 0, 17)))
    plain = F32.tobytes()
    assert _joined(tmp_path, layout, SPEC, plain) == plain[17:] + b"-" + plain[:17]


def test_a_transposed_tensor_lies_in_source_order(tmp_path: Path) -> None:
    layout = Layout(24, (Span("w", 0, 24, (1, 0)),))
    assert _joined(tmp_path, layout, SPEC, F32.tobytes()) == F32.T.tobytes()


def test_words_lie_the_other_way_round(tmp_path: Path) -> None:
    layout = Layout(24, (Span("w", 0, 4, None, 4), Span("w", 4, 24, (0, 1), 4)))
    assert _joined(tmp_path, layout, SPEC, F32.tobytes()) == F32.astype(">f4").tobytes()


def test_both_halves_of_a_complex_number_are_turned_by_themselves(tmp_path: Path) -> None:
    values = np.array([1 + 2j, 3 - 4j], "<c16")
    layout = Layout(32, (Span("c", 0, 32, None, 8),))
    spec = TensorSpec("c", "C128", (2,))
    assert _joined(tmp_path, layout, spec, values.tobytes()) == values.astype(">c16").tobytes()


def test_a_tensor_with_gaps_leaves_the_background(tmp_path: Path) -> None:
    region = np.full((2, 5), 9, "<f4")
    region[:, 1:4] = 0
    layout = Layout(40, (Scatter("w", (20, 4), 4, 0, region.tobytes()),))
    region[:, 1:4] = F32
    assert _joined(tmp_path, layout, SPEC, F32.tobytes()) == region.tobytes()


def test_gaps_and_turned_words(tmp_path: Path) -> None:
    background = b"\x00\x00\x01" * 3
    layout = Layout(9, (Scatter("x", (3,), 0, 2, background),))
    spec = TensorSpec("x", "I16", (3,))
    assert _joined(tmp_path, layout, spec, b"abcdef") == b"ba\x01dc\x01fe\x01"


def test_a_scalar_may_lie_in_a_background(tmp_path: Path) -> None:
    layout = Layout(3, (Scatter("x", (), 1, 0, b"a\x00c"),))
    assert _joined(tmp_path, layout, TensorSpec("x", "U8", ()), b"b") == b"abc"


def test_checksums_and_named_values_are_filled_in(tmp_path: Path) -> None:
    plain = bytes(range(200)) * 20
    layout = Layout(
        4056,
        (
            Computed("crc32", 8, 4018),
            Computed("crc32", 4022, 4048),
            Literal(b"head"),
            Span("w", 0, 4000),
            Named("id", 6),
            Literal(b"five"),
            Span("v", 0, 24, (1, 0)),
            Literal(b"sixsev"),
            Computed("crc32", 8, 4018),
        ),
    )
    specs = {"w": TensorSpec("w", "U8", (4000,)), "v": TensorSpec("v", "F32", (2, 3))}
    plains = {"w": plain, "v": F32.tobytes()}
    body = b"head" + plain + b"abcdef" + b"five" + F32.T.tobytes() + b"sixsev"
    first = zlib.crc32(body[:4010]).to_bytes(4, "little")
    second = zlib.crc32(body[4014:4040]).to_bytes(4, "little")
    expected = first + second + body + first
    assert join(layout, {"id": b"abcdef"}, specs, plains, tmp_path / "out") == expected


def test_a_tensor_without_bytes_has_a_sink_and_another_files_tensor_has_none(
    tmp_path: Path,
) -> None:
    specs = {
        "none": TensorSpec("none", "F32", (0, 3)),
        "elsewhere": TensorSpec("elsewhere", "F32", (1,)),
    }
    with FileWriter(tmp_path / "out", 1) as out:
        plan = plan_join(Layout(1, (Literal(b"x"),)), {}, out, specs)
        assert set(plan.sinks) == {"none"}
        plan.sinks["none"].write(0, memoryview(b""))
        plan.finish()
    assert (tmp_path / "out").read_bytes() == b"x"


def _plan(out: FileWriter, *, axes: tuple[int, ...] | None) -> JoinPlan:
    return plan_join(Layout(24, (Span("w", 0, 24, axes),)), {}, out, {"w": SPEC})


@pytest.mark.parametrize("axes", [None, (1, 0)])
@pytest.mark.parametrize(
    "writes",
    [[], [(0, 20)], [(4, 24)], [(0, 8), (12, 24)], [(0, 24), (0, 4)], [(0, 12), (8, 20)]],
    ids=str,
)
def test_bytes_that_are_missing_or_doubled_are_seen(
    tmp_path: Path, axes: tuple[int, ...] | None, writes: list[tuple[int, int]]
) -> None:
    with FileWriter(tmp_path / "out", 24) as out:
        plan = _plan(out, axes=axes)
        with pytest.raises(MalformedRecord, match="'w'"):  # noqa: PT012 either may notice
            for start, stop in writes:
                plan.sinks["w"].write(start, memoryview(bytes(stop - start)))
            plan.finish()


@pytest.mark.parametrize("axes", [None, (1, 0)])
@pytest.mark.parametrize(("start", "size"), [(-1, 2), (23, 2), (25, 0)])
def test_bytes_outside_the_tensor_are_refused(
    tmp_path: Path, axes: tuple[int, ...] | None, start: int, size: int
) -> None:
    with FileWriter(tmp_path / "out", 24) as out:
        plan = _plan(out, axes=axes)
        with pytest.raises(MalformedRecord, match="outside"):
            plan.sinks["w"].write(start, memoryview(bytes(size)))


UNFIT: Mapping[str, Layout] = {
    "unknown tensor": Layout(4, (Span("x", 0, 4),)),
    "too short": Layout(20, (Span("w", 0, 20),)),
    "too long": Layout(28, (Span("w", 0, 28),)),
    "late": Layout(20, (Span("w", 4, 24),)),
    "twice": Layout(48, (Span("w", 0, 24), Span("w", 0, 24))),
    "hole": Layout(20, (Span("w", 0, 10), Span("w", 14, 24))),
    "overlap": Layout(28, (Span("w", 0, 14), Span("w", 10, 24))),
    "scattered and spanned": Layout(48, (Span("w", 0, 24), Scatter("w", (12, 4), 0, 0, bytes(24)))),
    "scattered twice": Layout(48, (Scatter("w", (12, 4), 0, 0, bytes(24)),) * 2),
    "named missing": Layout(4, (Named("other", 4),)),
    "named of another size": Layout(5, (Named("id", 5),)),
    "another file": Layout(3, (Literal(b"abc"),)),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_layout_that_does_not_fit_is_refused(tmp_path: Path, name: str) -> None:
    layout = UNFIT[name]
    size = layout.size + (name == "another file")
    with FileWriter(tmp_path / "out", size) as out, pytest.raises(MalformedRecord):
        plan_join(layout, {"id": b"four"}, out, {"w": SPEC})


def test_a_stride_along_one_element_is_never_taken(tmp_path: Path) -> None:
    layout = Layout(8, (Scatter("x", (2**64 - 1, 4), 0, 0, bytes(8)),))
    spec = TensorSpec("x", "F32", (1, 2))
    assert _joined(tmp_path, layout, spec, b"abcdefgh") == b"abcdefgh"


UNFIT_SEGMENTS: Mapping[str, tuple[TensorSpec, Span | Scatter]] = {
    "axes of another rank": (SPEC, Span("w", 0, 24, (0, 2, 1))),
    "no whole words": (TensorSpec("w", "F32", (3,)), Span("w", 0, 12, None, 8)),
    "strides of another rank": (SPEC, Scatter("w", (4,), 0, 0, bytes(24))),
    "beyond the region": (SPEC, Scatter("w", (12, 4), 1, 0, bytes(24))),
    "giant strides": (SPEC, Scatter("w", (2**63, 2**63), 0, 0, bytes(24))),
    "shared bytes": (SPEC, Scatter("w", (0, 4), 0, 0, bytes(23))),
    "permuted blocks": (TensorSpec("w", "F4", (2, 4)), Span("w", 0, 4, (1, 0))),
}


@pytest.mark.parametrize("name", UNFIT_SEGMENTS)
def test_an_order_that_the_tensor_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    spec, segment = UNFIT_SEGMENTS[name]
    layout = Layout(segment.size, (segment,))
    with FileWriter(tmp_path / "out", layout.size) as out:
        plan = plan_join(layout, {}, out, {"w": spec})
        with pytest.raises(MalformedRecord):
            plan.sinks["w"].write(0, memoryview(bytes(spec.nbytes)))


@st.composite
def files(draw: st.DrawFn) -> tuple[Layout, TensorSpec, bytes, bytes]:
    """Draw a tensor in any order, between literals, under a checksum, and the file it makes."""
    row = dtype(draw(st.sampled_from(["U8", "BF16", "F32", "C64"])))
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    spec = TensorSpec("w", row.name, shape)
    plain = draw(st.binary(min_size=spec.nbytes, max_size=spec.nbytes))
    axes = tuple(draw(st.permutations(range(len(shape)))))
    swap = draw(st.sampled_from([0, row.width])) if row.width > 1 else 0
    words = np.frombuffer(plain, np.uint8).reshape(*shape, row.nbytes // row.width, row.width)
    turned = words[..., ::-1] if swap else words
    region = turned.transpose(*axes, len(shape), len(shape) + 1).tobytes()
    cut = draw(st.integers(0, spec.nbytes))
    between = draw(st.binary(max_size=3))
    builder = Builder()
    builder.literal(b"start")
    for start, stop, after in ((0, cut, between), (cut, spec.nbytes, b"")):
        if start < stop:
            builder.add(Span("w", start, stop, axes, swap))
        builder.literal(after)
    body = b"start" + region[:cut] + between + region[cut:]
    builder.add(Computed("crc32", 2, len(body)))
    return builder.build(), spec, plain, body + zlib.crc32(body[2:]).to_bytes(4, "little")


@settings(deadline=None)
@given(files())
def test_any_order_makes_its_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Layout, TensorSpec, bytes, bytes]
) -> None:
    layout, spec, plain, expected = drawn
    assert _joined(tmp_path_factory.mktemp("join"), layout, spec, plain) == expected


@pytest.fixture(params=[True, False], ids=["pwrite", "seek"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_POSITIONAL", request.param)


@pytest.mark.usefixtures("_way")
def test_a_writer_makes_a_new_file_of_its_size(tmp_path: Path) -> None:
    with FileWriter(tmp_path / "new", 10, mode=0o600) as out:
        out.pwrite(6, b"xyz")
        out.pwrite(0, memoryview(np.array([1], "<u4")))
        out.pwrite(10, b"")
        out.sync()
    assert (tmp_path / "new").read_bytes() == b"\x01\x00\x00\x00\x00\x00xyz\x00"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_writer_never_opens_what_exists(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("old", "link"):
        with pytest.raises(ResourceError, match="no file of the workspace was changed"):
            FileWriter(tmp_path / name, 3)
    assert (tmp_path / "old").read_bytes() == b"precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("start", "data"), [(-1, b"a"), (3, b"ab"), (5, b"")])
def test_a_writer_keeps_inside_its_file(tmp_path: Path, start: int, data: bytes) -> None:
    with FileWriter(tmp_path / "f", 4) as out, pytest.raises(ValueError, match="outside"):
        out.pwrite(start, data)


def test_a_file_that_cannot_be_that_large_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        FileWriter(tmp_path / "huge", 2**63 - 1)
    assert not list(tmp_path.iterdir())


def test_a_discarded_file_is_gone(tmp_path: Path) -> None:
    out = FileWriter(tmp_path / "f", 4)
    out.discard()
    out.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, None)]
)
def test_a_write_that_fails_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[ResourceError] | None,
) -> None:
    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with FileWriter(tmp_path / "f", 4) as out:
        monkeypatch.setattr(os, "pwrite", fails)
        monkeypatch.setattr(os, "fsync", fails)
        for attempt in (lambda: out.pwrite(0, b"ab"), out.sync):
            with pytest.raises(ResourceError, match="no file of the workspace") as caught:
                attempt()
            assert type(caught.value) is (kind or ResourceError)
