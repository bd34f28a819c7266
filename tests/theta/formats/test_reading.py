"""Files are read exactly, by position, and a tensor comes out in plain order whatever its place."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.formats.round_trip import plain_of
from theta.formats import reading
from theta.formats.reading import FileReader, FileSource, GatheredSource
from theta_store.dtypes import DTYPES, dtype
from theta_store.errors import MalformedFile, ResourceError, UnknownFile

DATA = bytes(range(256)) * 40


@pytest.fixture(params=[True, False], ids=["preadv", "seek"])
def path(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reading, "_POSITIONAL", request.param)
    (tmp_path / "f").write_bytes(DATA)
    return tmp_path / "f"


def test_bytes_come_from_where_they_were_asked(path: Path) -> None:
    with FileReader(path) as file:
        assert file.size == len(DATA)
        assert file.stat.st_ino == path.stat().st_ino
        assert file.read(0, 0) == b""
        assert file.read(len(DATA), 0) == b""
        assert file.read(7, 1000) == DATA[7:1007]
        out = np.zeros(100, "<u4")
        file.read_into(3, memoryview(out))
        assert out.tobytes() == DATA[3:403]


@pytest.mark.parametrize(("start", "length"), [(0, 10241), (10240, 1), (10239, 2), (2**60, 1)])
def test_bytes_beyond_the_end_are_refused_before_anything_is_allocated(
    path: Path, start: int, length: int
) -> None:
    with FileReader(path) as file, pytest.raises(MalformedFile, match="it has 10240"):
        file.read(start, length)
    with FileReader(path) as file, pytest.raises(MalformedFile, match="shorter"):
        file.read(0, 2**62)
    with FileReader(path) as file, pytest.raises(MalformedFile, match="shorter"):
        file.read(-1, 1)


def test_threads_do_not_disturb_each_other(path: Path) -> None:
    with FileReader(path) as file, ThreadPoolExecutor(8) as pool:
        starts = [(i * 37) % 10_000 for i in range(2000)]
        for start, got in zip(starts, pool.map(lambda at: file.read(at, 200), starts), strict=True):
            assert got == DATA[start : start + 200]


def test_a_file_that_shrinks_is_reported(path: Path) -> None:
    with FileReader(path) as file:
        os.truncate(path, 100)
        with pytest.raises(MalformedFile, match="became shorter"):
            file.read(90, 20)


def test_a_change_is_seen(path: Path) -> None:
    with FileReader(path) as file:
        assert file.unchanged()
        os.utime(path, ns=(1, 1))
        assert not file.unchanged()
    with FileReader(path) as file:
        with path.open("ab") as more:
            more.write(b"x")
        assert not file.unchanged()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownFile):
        FileReader(tmp_path / "nothing")
    with pytest.raises(MalformedFile, match="not a regular file"):
        FileReader(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MalformedFile, match="not a regular file"):
        FileReader(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ResourceError, match="cannot be read"):
        FileReader(tmp_path / "loop")


def test_a_closed_file_is_not_read(path: Path) -> None:
    file = FileReader(path)
    file.close()
    file.close()
    with pytest.raises((ValueError, ResourceError)):
        file.read(0, 1)


def test_a_source_is_a_window_of_its_file(path: Path) -> None:
    with FileReader(path) as file:
        assert plain_of(FileSource(file, "F32", (5, 7), 33)) == DATA[33 : 33 + 140]


@pytest.mark.parametrize("kind", [n for n, row in DTYPES.items() if row.width > 1])
def test_words_are_turned_round(path: Path, kind: str) -> None:
    row = dtype(kind)
    with FileReader(path) as file:
        source = FileSource(file, kind, (9,), 5, row.width)
        words = np.frombuffer(DATA[5 : 5 + 9 * row.nbytes], f"u{row.width}")
        assert plain_of(source) == words.byteswap().tobytes()
        middle = bytearray(row.nbytes)
        source.read_into(row.nbytes - 1, memoryview(middle))
        assert middle == words.byteswap().tobytes()[row.nbytes - 1 : 2 * row.nbytes - 1]


shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(
    st.sampled_from(["U8", "BF16", "F32", "F64", "C32", "C64", "C128"]),
    shapes,
    st.data(),
)
def test_elements_that_lie_apart_are_gathered(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    shape: tuple[int, ...],
    data: st.DataObject,
) -> None:
    row = dtype(kind)
    # Every axis is cut out of a larger one and the axes are permuted: gaps and any order.
    outer = tuple(n + data.draw(st.integers(0, 2)) for n in shape)
    axes = data.draw(st.permutations(range(len(shape))))
    swap = data.draw(st.sampled_from([0, row.width]))
    raw = DATA[3 : 3 + int(np.prod(outer)) * row.nbytes]
    words = np.frombuffer(raw, np.uint8).reshape(*outer, row.nbytes // row.width, row.width)
    view = words[tuple(slice(n) for n in shape)].transpose(*axes, len(shape), len(shape) + 1)
    expected = (view[..., ::-1] if swap else view).tobytes()
    path = tmp_path_factory.mktemp("gather") / "f"
    path.write_bytes(DATA)
    with FileReader(path) as file:
        source = GatheredSource(
            file, kind, view.shape[:-2], 3, len(raw), view.strides[:-2], swap if swap > 1 else 0
        )
        assert plain_of(source) == (expected if row.width > 1 else view.tobytes())


def test_a_gathered_tensor_is_dropped_after_use_and_read_again(path: Path) -> None:
    with FileReader(path) as file:
        source = GatheredSource(file, "U8", (4, 2), 0, 8, (1, 4))
        first = plain_of(source)
        assert source._copy.plain is None
        assert plain_of(source) == first == bytes([0, 4, 1, 5, 2, 6, 3, 7])
        with pytest.raises(MalformedFile, match="outside"):
            source.read_into(7, memoryview(bytearray(2)))


def test_a_stride_along_one_element_is_never_taken(path: Path) -> None:
    with FileReader(path) as file:
        assert plain_of(GatheredSource(file, "U8", (1, 3), 5, 8, (2**64, 2))) == DATA[5:11:2]


@pytest.mark.parametrize(
    ("shape", "strides", "kind"),
    [
        ((4, 2), (1, 5), "U8"),
        ((4,), (-1,), "U8"),
        ((4,), (1, 1), "U8"),
        ((0,), (1,), "U8"),
        ((4,), (2,), "F32"),
        ((2**40,), (0,), "U8"),
        ((2,), (1,), "F4"),
        ((1,) * 65, (0,) * 65, "U8"),
    ],
    ids=[
        "beyond",
        "backwards",
        "ranks",
        "no element",
        "beyond by width",
        "shared bytes",
        "blocks",
        "axes",
    ],
)
def test_strides_that_leave_the_region_are_refused(
    path: Path, shape: tuple[int, ...], strides: tuple[int, ...], kind: str
) -> None:
    with FileReader(path) as file, pytest.raises(MalformedFile, match=r"/f: "):
        GatheredSource(file, kind, shape, 0, 8, strides)
