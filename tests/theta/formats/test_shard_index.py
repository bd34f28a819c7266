"""The index of a sharded model is read with care: it is a stranger's file."""

import json

import pytest

from theta.formats.shard_index import shards_of
from theta_store.errors import MalformedFile


def _index(weight_map: object) -> bytes:
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}, indent=2).encode()


INDEX = _index({"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-1.safetensors"})


def test_an_index_names_its_shards_in_order() -> None:
    assert shards_of(INDEX) == ("m-1.safetensors", "m-2.safetensors")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"{" * 100_000,
        b'{"x":' + b"[" * 100_000,
        _index([]),
        _index({}),
        _index({"a": 1}),
        _index({"a": None}),
        INDEX[:-1],
        b'{"weight_map": {"a": "\\ud800"}}',
    ],
    ids=lambda data: repr(data[:40] + data[-9:]),
)
def test_what_is_no_index_has_no_shards(data: bytes) -> None:
    assert shards_of(data) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../m", "/etc/passwd", "a/b", "a\\b", "a\0", "x" * 600]
)
def test_a_shard_lies_beside_its_index(name: str) -> None:
    with pytest.raises(MalformedFile, match="no file beside it"):
        shards_of(_index({"a": "fine", "b": name}))
