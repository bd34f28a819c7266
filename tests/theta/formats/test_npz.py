"""npz: numpy's archives come back bit for bit; compressed ones are kept whole; lies are refused."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.formats.files_numpy import Array, arrays, noise, plain, saved
from tests.theta.formats.files_safetensors import put
from tests.theta.formats.round_trip import check_round_trip, join
from theta.formats import recognise
from theta.formats.base import Scan, TensorSpec
from theta.formats.layout import Computed, Literal, Span, encode_layout
from theta.formats.npz import Npz
from theta.formats.reading import FileReader
from theta.formats.zip_entries import read_entries
from theta.formats.zip_writing import NewEntry, compose_zip
from theta.repo import Author, Repo
from theta_store.errors import MalformedFile, OpaqueFile, UnsafePickle, UsageError

FORMAT = Npz()
GOLDEN = Path(__file__).parents[2] / "golden" / "formats" / "npz.hex"


def _scan(tmp_path: Path, data: bytes) -> Scan:
    with FileReader(put(tmp_path / "a.npz", data)) as file:
        return FORMAT.scan(file)


def _savez(values: Mapping[str, Array]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **values)  # type: ignore[arg-type]
    return out.getvalue()


def _zip(entries: Mapping[str, bytes], **options: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:  # type: ignore[call-overload]
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def _values() -> dict[str, Array]:
    return {
        "layer.0/weight": noise("<f4", (2, 3), 1),
        "transposed": noise("<f8", (3, 4), 2, fortran=True),
        "big": noise(">i2", (5,), 3),
        "größe": noise("<c16", (), 4),
        "nothing": noise("<f2", (0, 3)),
        "bf16": noise("|V2", (2, 3), 5),
    }


# numpy's own parameters, and what its zip writer would change: NUL ends a name.
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
files = st.dictionaries(
    names.filter(lambda name: name not in {"file", "allow_pickle"}), arrays, max_size=5
)


@settings(max_examples=100, deadline=None)
@given(files)
def test_what_numpy_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Array]
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    scan, plains = check_round_trip(put(folder / "a.npz", _savez(values)), FORMAT, folder / "out")
    assert list(scan.tensors) == list(values)
    assert plains == {name: plain(array) for name, array in values.items()}


class _Pipe(io.RawIOBase):
    """A stream that cannot seek: the archive gets data descriptors."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]


def test_an_archive_written_to_a_pipe_comes_back(tmp_path: Path) -> None:
    pipe = _Pipe()
    np.savez(pipe, **_values())  # type: ignore[arg-type]
    path = put(tmp_path / "a.npz", pipe.data)
    scan, _ = check_round_trip(path, FORMAT, tmp_path / "out")
    assert sum(isinstance(segment, Computed) for segment in scan.layout.segments) == 12


def test_archives_of_other_writers_come_back(tmp_path: Path) -> None:
    entries = {"a.npy": saved(noise("<f4", (2,))), "README.txt": b"hi", "empty": b"", "d/": b""}
    path = put(tmp_path / "a.npz", _zip(entries))
    scan, plains = check_round_trip(path, FORMAT, tmp_path / "out")
    assert list(plains) == ["a"]
    assert not [check for check in scan.checks if check.entry != "a.npy"]


def test_the_layout_is_golden(tmp_path: Path) -> None:
    layout = _scan(tmp_path, _savez(_values())).layout
    assert encode_layout(layout).hex() == GOLDEN.read_text().strip()


def test_an_archive_without_arrays_comes_back(tmp_path: Path) -> None:
    scan, _ = check_round_trip(put(tmp_path / "a.npz", _savez({})), FORMAT, tmp_path / "out")
    assert not scan.tensors


def test_a_flipped_byte_fails_the_archives_own_checksum(tmp_path: Path) -> None:
    for name, value in {"x": noise(">f4", (2, 8)), "t": noise("<f8", (3, 4), fortran=True)}.items():
        data = bytearray(_savez({name: value}))
        data[data.find(value.tobytes(order="A"))] ^= 1
        with pytest.raises(MalformedFile, match=rf"{name}\.npy fails its CRC-32"):
            _scan(tmp_path, bytes(data))


def test_the_checksum_of_a_plain_array_is_left_to_the_commit(repo: Repo, ada: Author) -> None:
    value = noise("<f4", (100,))
    data = bytearray(_savez({"x": value}))
    data[data.find(value.tobytes())] ^= 1
    put(repo.root / "a.npz", bytes(data))
    repo.add(["a.npz"])
    with pytest.raises(MalformedFile, match=r"a\.npz is damaged: entry x\.npy"):
        repo.commit("m", author=ada)
    assert repo.head.commit is None


def _poked(values: Mapping[str, Array], old: bytes, new: bytes) -> bytes:
    data = _savez(values)
    assert data.count(old) >= 1
    return data.replace(old, new)


X = {"x": noise("<f4", (2,))}
CRC = struct.pack("<I", zlib.crc32(saved(X["x"])))
SIZES = struct.pack("<QQ", 136, 136)
LIES: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "too short"),
    "text": (b"no archive" * 9, "does not end like a zip archive"),
    "truncated": (_savez(X)[:-1], "does not end like a zip archive"),
    "bytes before": (b"x" + _savez(X), "not where the file says"),
    "another size in the local header": (
        _poked(X, SIZES, struct.pack("<QQ", 135, 136)), "headers of b'x.npy' differ"),
    "another packed size": (
        _poked(X, SIZES, struct.pack("<QQ", 136, 135)), "headers of b'x.npy' differ"),
    "another checksum": (
        _savez(X).replace(CRC, b"abcd", 1), "headers of b'x.npy' differ"),
    "two names": (_poked(X, b"PK\x01\x02", b"PK\x01\x03"), "directory is damaged"),
    "a NUL": (_poked({"xy": X["x"]}, b"xy.npy", b"x\0.npy"), "lies about entry"),
    "bad UTF-8": (_poked(X, b"x.npy", b"\xff.npy"), "not valid UTF-8"),
    "a broken array": (_zip({"x.npy": b"hello"}), "'x' does not start like"),
    "a short array": (_zip({"x.npy": saved(X["x"])[:-1]}), "truncated: the array 'x' needs 8"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_archive_is_refused(tmp_path: Path, lie: str) -> None:
    data, says = LIES[lie]
    with pytest.raises(MalformedFile, match=says):
        _scan(tmp_path, data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for _ in range(2):
            archive.writestr("x.npy", saved(X["x"]))
    with pytest.raises(MalformedFile, match="two entries"):
        _scan(tmp_path, out.getvalue())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_mutated_archive_is_refused_or_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(_savez({"x": noise("<f4", (2,)), "t": noise(">f2", (2, 2), fortran=True)}))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("mutant")
    path = put(folder / "m.npz", bytes(good))
    try:
        with FileReader(path) as file:
            scan = FORMAT.scan(file)
    except (MalformedFile, OpaqueFile):
        return
    # A flipped value fails its checksum only when a commit compares them.
    if not scan.checks:
        check_round_trip(path, FORMAT, folder / "out")


@pytest.mark.filterwarnings("ignore")
def test_what_holds_no_tensors_is_kept_as_a_blob_with_one_warning(repo: Repo, ada: Author) -> None:
    np.savez_compressed(repo.root / "small.npz", x=np.zeros(9))
    np.savez(repo.root / "objects.npz", x=np.zeros(9), y=np.array([{}], object))
    np.savez(repo.root / "text.npz", labels=np.array(["a"]))
    before = {path.name: path.read_bytes() for path in repo.root.glob("*.npz")}
    repo.add(["."])
    done = repo.commit("m", author=ada)
    assert {entry.kind for entry in repo.entries(done.id).values()} == {"blob"}
    kept = "kept byte for byte, without parameters"
    assert sorted(done.warnings) == [
        f"objects.npz: the array 'y' holds Python objects, which numpy pickles; {kept}",
        f"small.npz: its entry 'x.npy' is compressed; {kept}",
        f"text.npz: the array 'labels' is of dtype '<U1'; {kept}",
    ]
    for name in before:
        (repo.root / name).unlink()
    repo.restore(["."])
    assert {path.name: path.read_bytes() for path in repo.root.glob("*.npz")} == before


def test_the_kinds_of_opacity(tmp_path: Path) -> None:
    with pytest.raises(OpaqueFile, match="compressed"):
        _scan(tmp_path, _zip({"x.npy": saved(X["x"])}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(UnsafePickle, match="'y' holds Python objects"):
        _scan(tmp_path, _zip({"y.npy": saved(np.array([None], object))}))
    encrypted = bytearray(_zip({"x.npy": saved(X["x"])}))
    encrypted[6] |= 1
    encrypted[encrypted.find(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(OpaqueFile, match="encrypted"):
        _scan(tmp_path, bytes(encrypted))


def test_parameters_are_versioned_and_shared(repo: Repo, ada: Author) -> None:
    values = _values()
    np.savez(repo.root / "a.npz", **values)  # type: ignore[arg-type]
    np.save(repo.root / "b.npy", values["big"])
    before = {path.name: path.read_bytes() for path in repo.root.glob("*.np?")}
    repo.add(["."])
    done = repo.commit("m", author=ada)
    assert {entry.kind for entry in repo.entries(done.id).values()} == {"checkpoint"}
    assert repo.tensor(done.id, "a.npz", "big") == repo.tensor(done.id, "b.npy", "array")
    for name in before:
        (repo.root / name).unlink()
    repo.restore(["."])
    assert {path.name: path.read_bytes() for path in repo.root.glob("*.np?")} == before
    assert repo.status(rehash=True).clean


def test_an_archive_is_known_by_its_first_entry_or_its_name() -> None:
    data = _savez(_values())
    for name in ("a.npz", "weights", "a.zip"):
        found = recognise(data[:4096], name)
        assert found is not None
        assert found.id == "npz"
    assert recognise(_zip({"a.txt": b""}), "a.npz") is None
    assert FORMAT.sniff(b"", "A.NPZ")


def test_compose_writes_what_numpy_writes(tmp_path: Path) -> None:
    values = {
        "w.0": noise("<f4", (2, 3), 1),
        "größe": noise("<f2", (), 2),
        "empty": noise("<i8", (0, 4)),
        "flags": noise("|b1", (5,), 3),
        "": noise("<c16", (3,), 4),
    }
    data = _savez(values)
    scan = _scan(tmp_path, data)
    specs = {n: TensorSpec(n, s.dtype, tuple(s.shape)) for n, s in scan.tensors.items()}
    layout = FORMAT.compose(list(specs.values()), metadata={}, aliases={})
    plains = {name: value.tobytes() for name, value in values.items()}
    assert join(layout, {}, specs, plains, tmp_path / "new") == data


def test_what_the_format_lacks_is_a_usage_error() -> None:
    one = TensorSpec("x", "F32", (1,))
    with pytest.raises(UsageError, match="BF16"):
        FORMAT.compose([TensorSpec("x", "BF16", (1,))], metadata={}, aliases={})
    with pytest.raises(UsageError, match="one name"):
        FORMAT.compose([one, one], metadata={}, aliases={})
    with pytest.raises(UsageError, match="tied names"):
        FORMAT.compose([one], metadata={}, aliases={"y": "x"})
    for name in ("a\0b", "x" * 70_000):
        with pytest.raises(UsageError, match="zip archive cannot hold"):
            FORMAT.compose([TensorSpec(name, "F32", (1,))], metadata={}, aliases={})


def test_a_large_archive_has_zip64_records(tmp_path: Path) -> None:
    gib = 1 << 30
    spans = [Span(str(number), 0, 3 * gib) for number in range(2)]
    layout = compose_zip(NewEntry(f"{span.name}.npy", (b"head", span)) for span in spans)
    path = tmp_path / "big.npz"
    with path.open("wb") as out:
        for offset, segment in layout.placed():
            out.seek(offset)
            out.write(getattr(segment, "data", b"\0\0\0\0") if segment.size < gib else b"")
    with zipfile.ZipFile(path) as archive:
        found = [(info.filename, info.file_size) for info in archive.infolist()]
        assert found == [("0.npy", 3 * gib + 4), ("1.npy", 3 * gib + 4)]
        with archive.open("1.npy") as entry:
            assert entry.read(4) == b"head"


def test_many_entries_need_zip64(tmp_path: Path) -> None:
    (literal,) = compose_zip(NewEntry(f"{number}", ()) for number in range(66_000)).segments
    assert isinstance(literal, Literal)
    with zipfile.ZipFile(io.BytesIO(literal.data)) as archive:
        assert len(archive.infolist()) == 66_000
        assert archive.read("65999") == b""
    with FileReader(put(tmp_path / "many.npz", literal.data)) as file:
        assert len(read_entries(file)) == 66_000
