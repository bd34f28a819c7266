"""Safetensors: files come back bit for bit, and what lies is refused with one clear sentence."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize
from safetensors.torch import load, save_file, save_model

from tests.theta.formats.files_safetensors import (
    SPELLINGS,
    entry,
    framed,
    noise,
    put,
    tensors_of,
    written,
)
from tests.theta.formats.round_trip import check_round_trip, join
from theta.formats.base import Scan, TensorSpec
from theta.formats.layout import Literal, Span
from theta.formats.reading import FileReader
from theta.formats.safetensors import HEADER_BYTES, NAMES, Safetensors
from theta_store.errors import MalformedFile, UsageError

FORMAT = Safetensors()


def _scan(path: Path) -> Scan:
    with FileReader(path) as file:
        return FORMAT.scan(file)


def _refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(MalformedFile) as caught:
        _scan(put(tmp_path / "bad.safetensors", data))
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_file_of_every_dtype_comes_back(tmp_path: Path) -> None:
    tensors = tensors_of(list(SPELLINGS))
    path = put(tmp_path / "all.safetensors", written(tensors, {"format": "pt", "note": "é"}))
    scan, plains = check_round_trip(path, FORMAT, tmp_path / "out")
    assert plains == {name: plain for name, (_, _, plain) in tensors.items()}
    assert {n: (s.dtype, s.shape) for n, s in scan.tensors.items()} == {
        name: (kind, shape) for name, (kind, shape, _) in tensors.items()
    }
    assert scan.aliases == {}


@pytest.mark.parametrize("kind", NAMES)
def test_every_dtype_in_the_format_is_read(tmp_path: Path, kind: str) -> None:
    size = TensorSpec("x", kind, (2, 12)).nbytes
    data = framed({"x": entry(kind, (2, 12), 0, size)}, noise(1, size))
    assert dict(deserialize(data))["x"]["dtype"] == kind
    check_round_trip(put(tmp_path / "one", data), FORMAT, tmp_path / "out")


def test_torch_tensors_of_odd_shapes_are_read_bit_for_bit(tmp_path: Path) -> None:
    payloads = torch.tensor([0x7FC00001, -1, 0x7F800001, -(2**31)], dtype=torch.int32)
    tensors = {
        "scalar": torch.tensor(1.5),
        "none": torch.empty(0, 3),
        "nothing": torch.empty(0, dtype=torch.bfloat16),
        "nan": payloads.view(torch.float32),
        "bf16": torch.tensor([[0.0, -0.0], [1e-40, float("inf")]], dtype=torch.bfloat16),
    }
    save_file(tensors, tmp_path / "odd.safetensors")
    scan, plains = check_round_trip(tmp_path / "odd.safetensors", FORMAT, tmp_path / "out")
    assert set(scan.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert plains[name] == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_header_order_is_not_file_order(tmp_path: Path) -> None:
    header = {
        "late": entry("U8", [2], 4, 6),
        "__metadata__": {"a": "b"},
        "empty": entry("F32", [0, 5], 4, 4),
        "early": entry("F32", [1], 0, 4),
    }
    path = put(tmp_path / "f", framed(json.dumps(header, indent=3).encode() + b"  \n", b"abcdef"))
    scan, plains = check_round_trip(path, FORMAT, tmp_path / "out")
    assert list(scan.tensors) == ["early", "empty", "late"]
    assert plains == {"early": b"abcd", "empty": b"", "late": b"ef"}
    assert isinstance(scan.layout.segments[0], Literal)
    assert scan.layout.segments[1:] == (Span("early", 0, 4), Span("late", 0, 2))


def test_a_file_without_tensors_comes_back(tmp_path: Path) -> None:
    for data in (framed({}), framed({"__metadata__": {}}), framed(b'{"__metadata__":null}')):
        scan, _ = check_round_trip(put(tmp_path / "f", data), FORMAT, tmp_path / "out")
        assert not scan.tensors
        (tmp_path / "out").unlink()


@pytest.mark.parametrize("name", ["", "../x", "\0", "a..b", "x" * 600, "é\u202e", "/abs"])
def test_any_string_is_a_name(tmp_path: Path, name: str) -> None:
    data = written({name: ("U8", (3,), b"abc")})
    _, plains = check_round_trip(put(tmp_path / "f", data), FORMAT, tmp_path / "out")
    assert plains == {name: b"abc"}


def test_tied_weights_of_save_model_are_aliases(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    save_model(model, str(tmp_path / "tied.safetensors"), metadata={"format": "pt"})
    scan, _ = check_round_trip(tmp_path / "tied.safetensors", FORMAT, tmp_path / "out")
    assert scan.aliases == {"b.weight": "a.weight"}


HEAD = b'{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
TWICE = b'{"x":%s,"x":%s}' % ((HEAD[5:-1],) * 2)
LIES: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "truncated: 0 bytes"),
    "seven bytes": (b"1234567", "truncated: 7 bytes"),
    "header cut": (framed(HEAD, length=60), "needs 68 bytes, the file has 61"),
    "header too long": (framed(HEAD, length=HEADER_BYTES + 1), "100000001"),
    "length near 2^64": (b"\xff" * 8 + HEAD, "18446744073709551615"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "no header": (framed(b""), "not a JSON object"),
    "space first": (framed(b" " + HEAD, b"ab"), "not a JSON object"),
    "a list": (framed(b"[]"), "not a JSON object"),
    "text": (framed(b"{x"), "not JSON"),
    "text after": (framed(HEAD + b"x", b"ab"), "not JSON"),
    "NUL after": (framed(HEAD + b"\0", b"ab"), "not JSON"),
    "bad UTF-8": (framed(HEAD.replace(b"x", b"\xff"), b"ab"), "not JSON"),
    "bad UTF-8 in metadata": (framed(b'{"__metadata__":{"a":"\xff"}}'), "'__metadata__'"),
    "bad UTF-8 in a dtype": (framed(HEAD.replace(b"U8", b"U\xff"), b"ab"), "entry 'x'"),
    "half a surrogate": (framed(HEAD.replace(b"x", b"\\ud800"), b"ab"), "not JSON"),
    "deep": (framed(b'{"x":' + b"[" * 200_000), "not JSON"),
    "deep and closed": (framed(b'{"x":' + b"[" * 9999 + b"]" * 9999 + b"}"), "header"),
    "truncated data": (framed(HEAD, b"a"), "truncated: 2 tensor bytes are expected, 1 are there"),
    "data after": (framed(HEAD, b"abc"), "belong to no tensor: 2 tensor bytes are expected, 3"),
    "a name twice": (framed(TWICE, b"ab"), "names 'x' twice"),
    "a name twice, once no tensor": (framed(b'{"x":5,' + HEAD[1:], b"ab"), "names 'x' twice"),
    "a name twice, with a comma": (framed(TWICE.replace(b'"x"', b'"a,b"'), b"ab"), "twice"),
    "a name twice, escaped": (framed(TWICE.replace(b'"x"', b'"\\u0078"', 1), b"ab"), "twice"),
    "a field twice": (framed(HEAD.replace(b'"dtype"', b'"dtype":"I8","dtype"'), b"ab"), "twice"),
    "metadata twice": (framed(b'{"__metadata__":{},"__metadata__":{}}'), "twice"),
    "metadata key twice": (framed(b'{"__metadata__":{"a":"b","a":"b"}}'), "'a' twice"),
    "metadata not strings": (framed({"__metadata__": {"a": 1}}), "Expected `str`"),
    "field missing": (framed({"x": {"dtype": "U8", "shape": []}}), "data_offsets"),
    "field unknown": (framed({"x": entry("U8", [1], 0, 1) | {"y": 1}}, b"a"), "unknown field"),
    "entry is a number": (framed({"x": 1}), "entry 'x'"),
    "dtype unknown": (framed({"x": entry("F33", [1], 0, 1)}, b"a"), "unknown dtype 'F33'"),
    "dtype of another format": (framed({"x": entry("OPAQUE", [1], 0, 1)}, b"a"), "unknown dtype"),
    "negative axis": (framed({"x": entry("U8", [-1], 0, 1)}, b"a"), ">= 0"),
    "fractional axis": (framed({"x": entry("U8", [1.5], 0, 1)}, b"a"), "`int`"),
    "true axis": (framed({"x": entry("U8", [True], 0, 1)}, b"a"), "got `bool`"),
    "giant axis": (framed({"x": entry("U8", [2**63], 0, 1)}, b"a"), "<="),
    "overflowing shape": (framed({"x": entry("U8", [2**62] * 60, 0, 1)}, b"a"), "needs"),
    "wrapping shape": (framed({"x": entry("U8", [2**32, 2**32], 0, 0)}), "needs 184467440737"),
    "too many axes": (framed({"x": entry("U8", [1] * 65, 0, 1)}, b"a"), "length <= 64"),
    "digits": (framed(HEAD.replace(b"[2]", b"[" + b"9" * 10**6 + b"]"), b"ab"), "out of range"),
    "size too small": (framed({"x": entry("F32", [1], 0, 2)}, b"ab"), "2 bytes; F32 of shape"),
    "half a byte": (framed({"x": entry("F4", [3], 0, 1)}, b"a"), "whole bytes"),
    "backwards": (framed({"x": entry("U8", [1], 1, 0)}, b"a"), "bytes 1 to 0"),
    "backwards at once": (
        framed({"x": entry("U8", [1], 0, 1), "y": entry("U8", [1], 1, 0)}, b"a"),
        "-1 bytes",
    ),
    "negative offsets": (framed({"x": entry("U8", [1], -1, 0)}, b"a"), ">= 0"),
    "three offsets": (framed({"x": entry("U8", [], 0, 1) | {"data_offsets": [0] * 3}}), "length"),
    "gap": (framed({"x": entry("U8", [1], 1, 2)}, b"ab"), "leaves a gap before 'x'"),
    "overlap": (
        framed({"x": entry("U8", [2], 0, 2), "y": entry("U8", [2], 1, 3)}, b"abc"),
        "overlaps another tensor with 'y'",
    ),
    "the same bytes": (
        framed({"x": entry("U8", [2], 0, 2), "y": entry("U8", [2], 0, 2)}, b"ab"),
        "overlaps",
    ),
    "far outside": (framed({"x": entry("U8", [2**40], 0, 2**40)}, b"ab"), "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_file_is_refused(tmp_path: Path, lie: str) -> None:
    data, says = LIES[lie]
    assert says in _refused(tmp_path, data)


def test_a_long_hostile_name_does_not_flood_the_message(tmp_path: Path) -> None:
    message = _refused(tmp_path, framed({"\x1b[2J" * 10**5: entry("U8", [1], 1, 2)}, b"ab"))
    assert len(message) < 300
    assert "\x1b" not in message


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_file_is_refused_or_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = bytearray(written(tensors_of(["F32", "U8"], (2, 2)), {"a": "b"}))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)) | st.just(len(good)))
    folder = tmp_path_factory.mktemp("mutant")
    path = put(folder / "m.safetensors", bytes(good[:cut]))
    try:
        _scan(path)
    except MalformedFile:
        return
    check_round_trip(path, FORMAT, folder / "out")


def test_compose_writes_what_the_library_writes(tmp_path: Path) -> None:
    tensors = {
        **tensors_of(list(SPELLINGS)),
        'q"\\\n\x1f\x7f/é\U0001f600': ("F32", (), b"abcd"),
        "": ("I64", (0, 4), b""),
    }
    specs = {name: TensorSpec(name, kind, shape) for name, (kind, shape, _) in tensors.items()}
    plains = {name: plain for name, (_, _, plain) in tensors.items()}
    for number, metadata in enumerate(({}, {"format": "pt"})):
        layout = FORMAT.compose(list(specs.values()), metadata=metadata, aliases={})
        ours = join(layout, {}, specs, plains, tmp_path / str(number))
        assert ours == written(tensors, metadata or None)


def test_what_is_composed_can_be_scanned_and_loaded(tmp_path: Path) -> None:
    specs = {n: TensorSpec(n, n, (4, 3)) for n in NAMES}
    plains = {name: noise(1, spec.nbytes) for name, spec in specs.items()}
    aliases = {"tied": "F32"}
    layout = FORMAT.compose(list(specs.values()), metadata={"b": "1", "a": "2"}, aliases=aliases)
    data = join(layout, {}, specs, plains, tmp_path / "new")
    assert {name: bytes(info["data"]) for name, info in deserialize(data)} == plains
    scan, found = check_round_trip(tmp_path / "new", FORMAT, tmp_path / "out")
    assert found == plains
    assert scan.aliases == aliases


def test_composed_values_load_in_torch(tmp_path: Path) -> None:
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    spec = TensorSpec("w", "BF16", (2, 3))
    layout = FORMAT.compose([spec], metadata={}, aliases={})
    plain = tensor.view(torch.uint8).numpy().tobytes()
    assert torch.equal(
        load(join(layout, {}, {"w": spec}, {"w": plain}, tmp_path / "f"))["w"], tensor
    )


@pytest.mark.parametrize(
    ("specs", "says"),
    [
        ([TensorSpec("x", "C128", (1,))], "C128"),
        ([TensorSpec("__metadata__", "F32", (1,))], "taken"),
        ([TensorSpec("x", "F32", (1,)), TensorSpec("x", "F32", (1,))], "taken"),
    ],
)
def test_what_the_format_lacks_is_a_usage_error(specs: list[TensorSpec], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FORMAT.compose(specs, metadata={}, aliases={})


def test_a_header_is_read_before_it_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write((HEADER_BYTES - 8).to_bytes(8, "little") + b"{")
        file.truncate(HEADER_BYTES + 100)
    with pytest.raises(MalformedFile, match="not JSON"):
        _scan(path)
