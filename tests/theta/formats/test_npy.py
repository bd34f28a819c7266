"""npy: numpy's files come back bit for bit; what is no tensor is kept whole; lies are refused."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.formats.files_numpy import DTYPES, Array, arrays, noise, npy, plain, saved
from tests.theta.formats.files_safetensors import put
from tests.theta.formats.round_trip import check_round_trip, join
from theta.formats import recognise
from theta.formats.base import Scan, TensorSpec
from theta.formats.layout import Literal, Span, encode_layout
from theta.formats.npy import Npy, npy_header
from theta.formats.reading import FileReader, GatheredSource
from theta_store.dtypes import DTYPES as TABLE
from theta_store.dtypes import from_numpy
from theta_store.errors import MalformedFile, OpaqueFile, UnsafePickle, UsageError

FORMAT = Npy()
GOLDEN = Path(__file__).parents[2] / "golden" / "formats" / "npy.hex"


def _scan(tmp_path: Path, data: bytes) -> Scan:
    with FileReader(put(tmp_path / "a.npy", data)) as file:
        return FORMAT.scan(file)


def _shape(array: Array) -> tuple[int, ...]:
    wide = array.dtype.kind == "V" and array.dtype.itemsize > 1
    return (*array.shape, array.dtype.itemsize) if wide else array.shape


@settings(max_examples=150, deadline=None)
@given(arrays, st.sampled_from([None, (1, 0), (2, 0), (3, 0)]))
def test_what_numpy_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, array: Array, version: tuple[int, int] | None
) -> None:
    folder = tmp_path_factory.mktemp("npy")
    path = put(folder / "a.npy", saved(array, version))
    scan, plains = check_round_trip(path, FORMAT, folder / "out")
    assert plains == {"array": plain(array)}
    assert scan.tensors["array"].shape == _shape(array)
    kind = "OPAQUE" if array.dtype.kind == "V" else from_numpy(*_kind(array)).name
    assert scan.tensors["array"].dtype == kind


def _kind(array: Array) -> tuple[str, int]:
    return array.dtype.kind, array.dtype.itemsize


def test_every_dtype_in_both_orders(tmp_path: Path) -> None:
    for spelling in DTYPES:
        for fortran in (False, True):
            array = noise(spelling, (2, 3, 4), 1, fortran=fortran)
            np.save(tmp_path / "a.npy", array)
            _, plains = check_round_trip(tmp_path / "a.npy", FORMAT, tmp_path / "out")
            assert plains == {"array": plain(array)}
            (tmp_path / "out").unlink()


def test_order_and_byte_order_are_the_spans(tmp_path: Path) -> None:
    scan = _scan(tmp_path, saved(noise(">c8", (2, 3), fortran=True)))
    assert scan.layout.segments[1:] == (Span("array", 0, 48, (1, 0), 4),)
    assert isinstance(scan.tensors["array"], GatheredSource)
    scan = _scan(tmp_path, saved(noise("<f4", (1, 3, 1), fortran=True)))
    assert scan.layout.segments[1:] == (Span("array", 0, 12),)


def test_the_layout_is_golden(tmp_path: Path) -> None:
    scan = _scan(tmp_path, saved(noise(">f4", (2, 3, 4), fortran=True)))
    assert encode_layout(scan.layout).hex() == GOLDEN.read_text().strip()


HEAD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
OTHERS: Mapping[str, str] = {
    "spaces": "{ 'descr' :'<f4','fortran_order':False ,'shape':( 2 , ) }  \n",
    "another order": "{'shape': (2,), 'fortran_order': True, 'descr': '<f4'}",
    "double quotes": '{"descr": "<f4", "fortran_order": False, "shape": (2,)}',
    "Python 2": "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }",
    "two lines": "{'descr': '<f4',\n 'fortran_order': False,\n 'shape': (2,), }\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_spellings_that_numpy_reads(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "a.npy", npy(OTHERS[name], b"abcdefgh"))
    _, plains = check_round_trip(path, FORMAT, tmp_path / "out")
    assert plains == {"array": b"abcdefgh"}


BROKEN: Mapping[str, bytes] = {
    "nothing": b"",
    "magic only": b"\x93NUMPY",
    "length cut": b"\x93NUMPY\x01\x00\x10",
    "version 4": b"\x93NUMPY\x04\x00" + npy(HEAD, b"12345678")[8:],
    "version 1.1": b"\x93NUMPY\x01\x01" + npy(HEAD, b"12345678")[8:],
    "no numpy": b"<html></html>",
    "header cut": npy(HEAD, length=len(HEAD) + 1),
    "giant header": npy(HEAD, length=2**32 - 1, version=2),
    "long header": npy(HEAD + " " * 10_000, b"12345678"),
    "data cut": npy(HEAD, b"1234567"),
    "empty header": npy("", b""),
    "one brace": npy("{", b""),
    "no dict": npy("('descr', '<f4')", b"12345678"),
    "key missing": npy(HEAD.replace("'fortran_order': False, ", ""), b"12345678"),
    "key twice": npy(HEAD.replace("{", "{'shape': (1,), "), b"12345678"),
    "key unknown": npy(HEAD.replace("}", "'x': '1'}"), b"12345678"),
    "text after": npy(HEAD + " x", b"12345678"),
    "no comma": npy(HEAD.replace(", 'shape'", " 'shape'"), b"12345678"),
    "a call": npy(HEAD.replace("False", "print(1)"), b"12345678"),
    "an escape": npy(HEAD.replace("<f4", "\\x3cf4"), b"12345678"),
    "no tuple": npy(HEAD.replace("(2,)", "(2)"), b"12345678"),
    "a list": npy(HEAD.replace("(2,)", "[2]"), b"12345678"),
    "negative": npy(HEAD.replace("(2,)", "(-2,)"), b"12345678"),
    "two commas": npy(HEAD.replace("(2,)", "(2,,)"), b"12345678"),
    "digits": npy(HEAD.replace("(2,)", f"({'9' * 5000},)"), b"12345678"),
    "giant": npy(HEAD.replace("(2,)", "(4611686018427387904, 4611686018427387904)"), b"12345678"),
    "shape is a flag": npy(HEAD.replace("(2,)", "True"), b"12345678"),
    "descr is a flag": npy(HEAD.replace("'<f4'", "True"), b"12345678"),
    "not ASCII": npy(HEAD.replace("(2,)", "(٢,)").encode(), b"12345678", version=3),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedFile, match=r"^a\.npy") as caught:
        _scan(tmp_path, BROKEN[name])
    assert len(caught.value.message) < 200


OPAQUE: Mapping[str, tuple[bytes, str]] = {
    "text": (saved(np.array(["a", "bc"])), "of dtype '<U2'"),
    "bytes": (saved(np.array([b"a", b"bc"])), "of dtype '|S2'"),
    "dates": (saved(np.array(["2020-01-01"], "M8[D]")), r"of dtype '<M8\[D\]'"),
    "structures": (saved(np.zeros(2, [("x", "<f4"), ("y", "<i8")])), "structures"),
    "a subarray": (npy(HEAD.replace("'<f4'", "('<f4', (2,))"), b"1" * 16), "structures"),
    "long double": (npy(HEAD.replace("<f4", "<f16"), b"1" * 32), "of dtype '<f16'"),
    "no byte order": (npy(HEAD.replace("<f4", "|f4"), b"1" * 8), "byte order"),
    "native order": (npy(HEAD.replace("<f4", "f4"), b"1" * 8), "of dtype 'f4'"),
    "two arrays": (saved(np.zeros(2)) * 2, "144 bytes follow the array"),
    "many axes": (npy(HEAD.replace("(2,)", "(" + "1, " * 65 + ")"), b"1234"), "65 axes"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPAQUE)
def test_what_is_no_tensor_is_opaque(tmp_path: Path, name: str) -> None:
    data, says = OPAQUE[name]
    with pytest.raises(OpaqueFile, match=says) as caught:
        _scan(tmp_path, data)
    assert not isinstance(caught.value, UnsafePickle)


def test_a_wide_structure_is_opaque(tmp_path: Path) -> None:
    fields = [(f"field number {number}", "<f4") for number in range(3000)]
    data = saved(np.zeros(1, fields), (2, 0))
    with pytest.raises(OpaqueFile, match="structures"):
        _scan(tmp_path, data)


@pytest.mark.filterwarnings("ignore")
def test_a_pickle_is_unsafe(tmp_path: Path) -> None:
    with pytest.raises(UnsafePickle, match="Python objects"):
        _scan(tmp_path, saved(np.array([{}, None], object)))
    np.zeros(3).dump(tmp_path / "dumped.npy")
    with pytest.raises(UnsafePickle, match="bare pickle"):
        _scan(tmp_path, (tmp_path / "dumped.npy").read_bytes())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_file_is_refused_or_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(saved(noise(">f4", (2, 3), fortran=True)))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, 75))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)) | st.just(len(good)))
    folder = tmp_path_factory.mktemp("mutant")
    path = put(folder / "m.npy", bytes(good[:cut]))
    try:
        with FileReader(path) as file:
            FORMAT.scan(file)
    except (MalformedFile, OpaqueFile):
        return
    check_round_trip(path, FORMAT, folder / "out")


def test_a_file_is_known_by_its_content_or_its_name() -> None:
    head = saved(np.zeros(2))
    for name in ("a.npy", "weights", "a.bin"):
        found = recognise(head, name)
        assert found is not None
        assert found.id == "npy"
    assert FORMAT.sniff(b"", "A.NPY")
    assert not FORMAT.sniff(b"PK\x03\x04", "a.npy")
    assert recognise(b"\x93NUMPX", "weights") is None


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (10**12, 0), (1,) * 40])
def test_headers_are_numpys_own(shape: tuple[int, ...]) -> None:
    for spelling in DTYPES:
        if spelling[0] == ">" or "V" in spelling:
            continue
        kind = np.dtype(spelling)
        out = io.BytesIO()
        fields = {"descr": kind.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, fields)
        assert npy_header(from_numpy(kind.kind, kind.itemsize).name, shape) == out.getvalue()


def test_headers_of_other_dtypes_are_integers_of_their_width() -> None:
    for name, row in TABLE.items():
        shape = (2, 256)
        head = npy_header(name, shape)
        array = np.load(io.BytesIO(head + bytes(row.size_of(shape))))
        assert array.nbytes == row.size_of(shape)


@pytest.mark.parametrize("name", ["BOOL", "U8", "I64", "F16", "F64", "C128"])
def test_compose_writes_what_numpy_writes(tmp_path: Path, name: str) -> None:
    for shape in ((), (0, 3), (3, 4)):
        spec = TensorSpec("w.x", name, shape)
        layout = FORMAT.compose([spec], metadata={}, aliases={})
        data = bytes(spec.nbytes)
        file = join(layout, {}, {"w.x": spec}, {"w.x": data}, tmp_path / "new.npy")
        assert np.load(io.BytesIO(file)).shape == shape
        assert saved(np.load(io.BytesIO(file))) == file
        scan, plains = check_round_trip(tmp_path / "new.npy", FORMAT, tmp_path / "out")
        assert plains == {"array": data}
        assert (scan.tensors["array"].dtype, scan.tensors["array"].shape) == (name, shape)
        (tmp_path / "new.npy").unlink()
        (tmp_path / "out").unlink()


def test_what_the_format_lacks_is_a_usage_error() -> None:
    one = TensorSpec("x", "F32", (1,))
    with pytest.raises(UsageError, match="not 2"):
        FORMAT.compose([one, one], metadata={}, aliases={})
    with pytest.raises(UsageError, match="not 0"):
        FORMAT.compose([], metadata={}, aliases={})
    for kind in ("BF16", "F8_E5M2", "C32", "OPAQUE"):
        with pytest.raises(UsageError, match=kind):
            FORMAT.compose([TensorSpec("x", kind, (1,))], metadata={}, aliases={})
    with pytest.raises(UsageError, match="metadata"):
        FORMAT.compose([one], metadata={"a": "b"}, aliases={})


def test_the_header_is_a_literal(tmp_path: Path) -> None:
    data = saved(np.zeros(3))
    scan = _scan(tmp_path, data)
    assert scan.layout.segments[0] == Literal(data[:128])
