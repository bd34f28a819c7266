"""A folder of shards is one model: its files in order, and every tensor in one of them."""

import json
from pathlib import Path

import pytest

from tests.theta.formats.files_safetensors import put, written
from theta.formats.base import Scan
from theta.formats.layout import Layout, Literal
from theta.formats.reading import FileReader
from theta.formats.safetensors import Safetensors
from theta.formats.sharded import merge_scans
from theta_store.errors import MalformedFile

INDEX_NAME = "model.safetensors.index.json"


def _index(weight_map: object) -> bytes:
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}, indent=2).encode()


INDEX = _index({"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-1.safetensors"})


def _scan(tmp_path: Path, name: str, *tensors: str) -> Scan:
    path = put(tmp_path / name, written(dict.fromkeys(tensors, ("U8", (2,), b"ab"))))
    with FileReader(path) as file:
        return Safetensors().scan(file)


@pytest.mark.parametrize("data", [b"", b"{}", INDEX[:-1]])
def test_what_is_no_index_makes_no_model(data: bytes) -> None:
    with pytest.raises(MalformedFile, match="not the index"):
        merge_scans(INDEX_NAME, data, {})


def test_the_model_is_its_index_and_its_shards(tmp_path: Path) -> None:
    one = _scan(tmp_path, "m-1.safetensors", "a", "c")
    two = _scan(tmp_path, "m-2.safetensors", "b")
    other = _scan(tmp_path, "other.safetensors", "a")
    scans = {"m-2.safetensors": two, "other.safetensors": other, "m-1.safetensors": one}
    files = merge_scans(INDEX_NAME, INDEX, scans)
    assert [name for name, _ in files] == [INDEX_NAME, "m-1.safetensors", "m-2.safetensors"]
    assert files[0][1].layout == Layout(len(INDEX), (Literal(INDEX),))
    assert (files[0][1].format, files[0][1].version) == ("safetensors", 1)
    assert files[1][1] is one
    assert files[2][1] is two


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile, match=r"names 'm-2\.safetensors', which is missing"):
        merge_scans(INDEX_NAME, INDEX, {"m-1.safetensors": _scan(tmp_path, "m-1", "a")})


@pytest.mark.parametrize("alias", [False, True], ids=["tensor", "alias"])
def test_a_name_in_two_shards_is_refused(tmp_path: Path, alias: bool) -> None:
    one, two = _scan(tmp_path, "1", "a", "c"), _scan(tmp_path, "2", "b" if alias else "a")
    if alias:
        two = Scan(two.format, two.version, two.layout, {}, two.tensors, {"a": "b"})
    with pytest.raises(MalformedFile, match=r"'a' lies in two shards"):
        merge_scans(INDEX_NAME, INDEX, {"m-1.safetensors": one, "m-2.safetensors": two})


def test_shards_are_of_one_format(tmp_path: Path) -> None:
    one, two = _scan(tmp_path, "1", "a"), _scan(tmp_path, "2", "b")
    foreign = Scan("torch", 1, two.layout, {}, two.tensors, {})
    with pytest.raises(MalformedFile, match="safetensors and torch"):
        merge_scans(INDEX_NAME, INDEX, {"m-1.safetensors": one, "m-2.safetensors": foreign})
