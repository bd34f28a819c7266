"""The models of the benchmark of speed: what differs between variants, and what does not."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.speed.models import INDEX, MODELS, WRITTEN_AT, Model, quick
from benchmarks.speed.operations import Variant

VARIANTS: tuple[Variant, ...] = ("first", "layer", "tuned")


def _words(folder: Path, model: Model) -> dict[str, bytes]:
    """Return the bytes of every tensor; numpy has no bfloat16, so the header is read here."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        body = data[8 + length :]
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            found[name] = body[start:end]
    assert list(found) == model.names
    return found


@pytest.mark.parametrize("model", [quick(model) for model in MODELS], ids=lambda model: model.name)
def test_a_layer_or_every_element_differs(model: Model, tmp_path: Path) -> None:
    model.write({variant: tmp_path / variant for variant in VARIANTS})
    first, layer, tuned = (_words(tmp_path / variant, model) for variant in VARIANTS)
    changed = {name for name in first if first[name] != layer[name]}
    assert changed == {f"layers.{model.layers // 2}.{part}" for part in model.parts}
    width = "<u2" if model.dtype == "BF16" else "<u4"
    for name, words in first.items():
        assert (np.frombuffer(words, width) != np.frombuffer(tuned[name], width)).all()
    assert sum(map(len, first.values())) == model.nbytes


def test_shards_are_read_by_others_and_named_by_their_index(tmp_path: Path) -> None:
    model = quick(next(model for model in MODELS if model.shards > 1))
    model.write({"first": tmp_path / "m"})
    placed = json.loads((tmp_path / "m" / INDEX).read_text())["weight_map"]
    for file in model.files[:-1]:
        tensors = load_file(tmp_path / "m" / file)
        assert set(tensors) == {name for name, where in placed.items() if where == file}
    assert sorted(placed) == sorted(model.names)


def test_variants_have_whole_seconds_of_their_own(tmp_path: Path) -> None:
    model = quick(MODELS[0])
    model.write({variant: tmp_path / variant for variant in VARIANTS})
    for variant in VARIANTS:
        times = {path.stat().st_mtime_ns for path in (tmp_path / variant).iterdir()}
        assert times == {WRITTEN_AT[variant] * 10**9}
    assert len(set(WRITTEN_AT.values())) == len(VARIANTS)


def test_the_models_are_those_of_the_issue() -> None:
    sizes = {model.name: (model.nbytes, len(model.names)) for model in MODELS}
    assert sizes["bf16"][0] >= 500e6
    assert sizes["fp32"][0] >= 500e6
    assert sizes["small"][1] == 1000
    assert sizes["experts"][1] == 20_000
