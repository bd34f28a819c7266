"""Reading checkpoint files apart from theta: every byte is a tensor's or among the others."""

import io
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchmarks.storage.contents import is_embedding, read_contents, write_safetensors

STATE = {
    "embed.weight": torch.randn(5, 4),
    "a.half": torch.randn(3).bfloat16(),
    "a.count": torch.arange(7),
    "a.byte": torch.randn(6).to(torch.float8_e4m3fn),
}
NESTED = {"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": 0.1}}


def _saved(path: Path, value: object) -> Path:
    if path.suffix == ".pt":
        data = io.BytesIO()
        torch.save(value, data)
        path.write_bytes(data.getvalue())
    else:
        path.write_bytes(safetensors.torch.save(value))
    return path


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_tensors_and_other_bytes_are_the_whole_file(tmp_path: Path, suffix: str) -> None:
    path = _saved(tmp_path / f"m{suffix}", STATE)
    contents = read_contents(path)
    assert set(contents.tensors) == set(STATE)
    for name, value in STATE.items():
        array = contents.tensors[name]
        assert array.shape == tuple(value.shape)
        assert array.plain.tobytes() == value.view(-1).view(torch.uint8).numpy().tobytes()
    tensors = sum(array.plain.size for array in contents.tensors.values())
    assert tensors + len(contents.other) == path.stat().st_size


def test_nested_torch_files_are_flattened(tmp_path: Path) -> None:
    tensors = read_contents(_saved(tmp_path / "m.pt", NESTED)).tensors
    assert "model.a.count" in tensors
    assert "optimizer.state.0.exp_avg" in tensors


def test_what_is_written_is_read_by_safetensors(tmp_path: Path) -> None:
    tensors = read_contents(_saved(tmp_path / "m.safetensors", STATE)).tensors
    write_safetensors(tmp_path / "n.safetensors", tensors)
    found = safetensors.torch.load_file(tmp_path / "n.safetensors")
    assert set(found) == set(STATE)
    for name, value in STATE.items():
        assert torch.equal(found[name].view(torch.uint8), value.view(torch.uint8))


def test_which_tensors_are_the_embedding() -> None:
    yes = ["embed.weight", "model.embed.weight", "optimizer.state.0.exp_avg"]
    no = ["head.weight", "model.head.weight", "optimizer.state.10.exp_avg", "x.embed.weight.y"]
    assert all(map(is_embedding, yes))
    assert not any(map(is_embedding, no))
