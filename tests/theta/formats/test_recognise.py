"""A file's format is found by its content, then by its name; anything else is a plain blob."""

import sys

import pytest

from tests.theta.formats.files_safetensors import framed, written
from theta.formats import HEAD_BYTES, builtin_formats, format_by_id, recognise
from theta_store.errors import UsageError

REAL = written({"x": ("F32", (2,), b"abcdefgh")})


def _id(head: bytes, name: str) -> str | None:
    format_ = recognise(head[:HEAD_BYTES], name)
    return None if format_ is None else format_.id


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "weights", "x.SafeTensors", ""])
def test_content_decides(name: str) -> None:
    assert _id(REAL, name) == "safetensors"


@pytest.mark.parametrize("head", [b"", REAL[:5], b"garbage" * 9, framed(b"[]"), b"\xff" * 99])
def test_a_broken_file_is_what_its_name_says(head: bytes) -> None:
    assert _id(head, "Model.SAFETENSORS") == "safetensors"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b'{"weight_map": {}}',
        b"\x89HDF\r\n\x1a\n{",
        b"\x80\x02}q\x00.",
        b"GGUF\x03\x00\x00\x00{",
        b"\x01\x00\x00\x00\x00\x00\x00\x00{",
        bytes(8) + b"{",
        REAL[:8],
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["config.json", "file", "safetensors", "a.safetensors.bak"])
def test_anything_else_is_a_blob(head: bytes, name: str) -> None:
    assert recognise(head, name) is None


def test_every_format_is_found_by_its_id() -> None:
    for format_ in builtin_formats():
        assert format_by_id(format_.id).id == format_.id
        assert format_.version >= 1
        assert all(s.startswith(".") and s == s.lower() for s in format_.suffixes)
    with pytest.raises(UsageError, match="'gguf'"):
        format_by_id("gguf")


def test_formats_do_not_need_torch_or_safetensors() -> None:
    theirs = {"torch", "safetensors"}
    for name, module in list(sys.modules.items()):
        if name.startswith("theta.formats"):
            found = {getattr(value, "__name__", "") for value in vars(module).values()}
            assert not found & theirs, name
