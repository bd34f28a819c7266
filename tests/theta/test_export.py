"""Exports: byte for byte, or converted to another format, other shards, another dtype."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file, save_model

from theta.params import flatten
from theta.repo import Author, Conversion, Repo
from theta_store.errors import UnknownFile, UnsavedChanges, UsageError
from theta_store.ids import CheckpointId, TensorId

Tensors = Mapping[str, torch.Tensor]


def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "layers.0.w": torch.randn(300, 40),
        "layers.1.w": torch.randn(40, 300).to(torch.bfloat16),
        "half": torch.randn(7).to(torch.float16),
        "double": torch.randn(5, dtype=torch.float64) * 1e-3,
        "steps": torch.arange(9),
        "mask": torch.tensor([True, False]),
        "scalar": torch.tensor(1.5),
        "nothing": torch.empty(0, 4),
        "payload": torch.tensor([0x7F800001, -1, 1], dtype=torch.int32).view(torch.float32),
    }


def _committed(repo: Repo, ada: Author, tensors: Tensors, name: str = "model.safetensors") -> None:
    if name.endswith(".safetensors"):
        save_file(dict(tensors), repo.root / name)
    else:
        torch.save(dict(tensors), repo.root / name)
    repo.add([name])
    repo.commit("m", author=ada)


def _ids(repo: Repo, path: str) -> dict[str, TensorId]:
    _, entry = repo.entry(repo.resolve("HEAD"), path)
    return dict(flatten(repo.store, repo.store.checkpoint(CheckpointId(entry.id)).params))


def _bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _same(one: Tensors, two: Tensors) -> bool:
    return one.keys() == two.keys() and all(
        one[n].dtype == two[n].dtype
        and one[n].shape == two[n].shape
        and (not one[n].numel() or _bits(one[n]) == _bits(two[n]))
        for n in one
    )


def _no_leftovers(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.name.startswith(".theta-tmp")]


def test_a_copy_is_byte_for_byte(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    data = (repo.root / "model.safetensors").read_bytes()
    for name in ("new.safetensors", "noending", "other.txt"):
        assert repo.export("HEAD", tmp_path / name, path="model.safetensors") == [name]
        assert (tmp_path / name).read_bytes() == data


def test_torch_to_safetensors_by_the_ending(repo: Repo, ada: Author, tmp_path: Path) -> None:
    tensors = _tensors()
    _committed(repo, ada, {**tensors, "turned": torch.randn(3, 5).t()}, "model.pt")
    target = tmp_path / "made" / "model.safetensors"
    assert repo.export("HEAD", target, path="model.pt") == ["model.safetensors"]
    loaded = load_file(target)
    assert _same(loaded, {n: t.contiguous() for n, t in torch.load(repo.root / "model.pt").items()})
    save_file(loaded, tmp_path / "theirs.safetensors", {"format": "pt"})
    assert target.read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    assert _no_leftovers(tmp_path)


def test_casts_round_once_and_spare_integers(repo: Repo, ada: Author, tmp_path: Path) -> None:
    tensors = {**_tensors(), "eight": torch.randn(6).to(torch.float8_e4m3fn)}
    _committed(repo, ada, tensors)
    for spelling, kind in (
        ("BF16", torch.bfloat16),
        ("F16", torch.float16),
        ("F32", torch.float32),
        ("F64", torch.float64),
    ):
        target = tmp_path / f"{spelling}.safetensors"
        conversion = Conversion(dtype=spelling)
        repo.export("HEAD", target, path="model.safetensors", conversion=conversion)
        loaded = load_file(target)
        assert loaded.keys() == tensors.keys()
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                assert _same({name: loaded[name]}, {name: tensor})
                continue
            assert loaded[name].dtype == kind
            expected = tensor if tensor.dtype == kind else tensor.to(kind)
            assert torch.equal(loaded[name].isnan(), expected.isnan())
            assert torch.equal(loaded[name].nan_to_num(), expected.nan_to_num()), (name, kind)


def test_what_has_the_dtype_already_is_bit_exact(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    target = tmp_path / "f32.safetensors"
    repo.export("HEAD", target, path="model.safetensors", conversion=Conversion(dtype="F32"))
    assert _bits(load_file(target)["payload"]) == _bits(_tensors()["payload"])


def test_casts_of_chunks_of_large_tensors(repo: Repo, ada: Author, tmp_path: Path) -> None:
    values = torch.randn(3, 700_000)
    _committed(repo, ada, {"w": values, "x": values.double()})
    target = tmp_path / "h.safetensors"
    conversion = Conversion(dtype="BF16", shard_bytes=5_000_000)
    names = repo.export("HEAD", target, path="model.safetensors", conversion=conversion)
    assert len(names) == 3
    for name, key in zip(names[1:], ("w", "x"), strict=True):
        assert torch.equal(load_file(tmp_path / name)[key], values.to(torch.bfloat16))


def _checked_index(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a sharded model, read as the Hugging Face libraries do."""
    index = json.loads((folder / f"{stem}.safetensors.index.json").read_bytes())
    assert set(index) == {"metadata", "weight_map"}
    loaded: dict[str, torch.Tensor] = {}
    shards = sorted(set(index["weight_map"].values()))
    for number, shard in enumerate(shards, 1):
        assert shard == f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        part = load_file(folder / shard)
        assert part.keys() == {n for n, s in index["weight_map"].items() if s == shard}
        loaded |= part
    total = sum(t.numel() * t.element_size() for t in loaded.values())
    assert index["metadata"] == {"total_size": total}
    return loaded


def test_shards_load_and_come_back_as_the_same_tensors(
    repo: Repo, ada: Author, tmp_path: Path
) -> None:
    tensors = _tensors()
    _committed(repo, ada, tensors)
    conversion = Conversion(shard_bytes=30_000)
    target = tmp_path / "out" / "big.safetensors"
    names = repo.export("HEAD", target, path="model.safetensors", conversion=conversion)
    assert names[0] == "big.safetensors.index.json"
    assert len(names) == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    assert _same(_checked_index(tmp_path / "out", "big"), tensors)
    before = _ids(repo, "model.safetensors")
    repo.export(
        "HEAD", repo.root / "s.safetensors", path="model.safetensors", conversion=conversion
    )
    repo.add(["s.safetensors.index.json"])
    repo.commit("shards", author=ada)
    assert _ids(repo, "s.safetensors.index.json") == before


def test_shards_become_one_file(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    conversion = Conversion(shard_bytes=30_000)
    repo.export(
        "HEAD", repo.root / "s.safetensors", path="model.safetensors", conversion=conversion
    )
    repo.add(["s.safetensors.index.json"])
    repo.commit("shards", author=ada)
    repo.export("HEAD", tmp_path / "one.safetensors", path="s.safetensors.index.json")
    assert _same(load_file(tmp_path / "one.safetensors"), _tensors())
    whole = Conversion(format="safetensors")
    repo.export("HEAD", tmp_path, path="s.safetensors.index.json", conversion=whole)
    assert _same(load_file(tmp_path / "s.safetensors"), _tensors())
    repo.export("HEAD", tmp_path / "copied", path="s.safetensors.index.json")
    assert len(list((tmp_path / "copied").iterdir())) == 4


def test_what_fits_one_shard_is_one_file(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    conversion = Conversion(shard_bytes=10**9)
    names = repo.export("HEAD", tmp_path, path="model.safetensors", conversion=conversion)
    assert names == ["model.safetensors"]


def test_tied_weights_stay_tied(repo: Repo, ada: Author, tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(9, 9), "b": torch.nn.Linear(9, 9)})
    model["b"].weight = model["a"].weight
    save_model(model, str(repo.root / "m.safetensors"), metadata={"format": "pt", "note": "é"})
    torch.save(model.state_dict(), repo.root / "m.pt")
    repo.add(["m.safetensors", "m.pt"])
    repo.commit("m", author=ada)
    repo.export("HEAD", tmp_path / "a.safetensors", path="m.pt")
    conversion = Conversion(shard_bytes=100)
    names = repo.export("HEAD", tmp_path / "s.safetensors", path="m.pt", conversion=conversion)
    assert "b.weight" not in _checked_index(tmp_path, "s")
    for name in names[1:]:
        with safe_open(tmp_path / name, "pt") as file:
            ties = {"b.weight": "a.weight"} if "a.weight" in file.keys() else {}  # noqa: SIM118
            assert file.metadata() == {"format": "pt", **ties}
    fresh = torch.nn.ModuleDict({"a": torch.nn.Linear(9, 9), "b": torch.nn.Linear(9, 9)})
    fresh["b"].weight = fresh["a"].weight
    from safetensors.torch import load_model

    load_model(fresh, tmp_path / "a.safetensors")
    assert torch.equal(fresh["b"].weight, model["a"].weight)
    work = repo.root
    for name in (*names, "a.safetensors"):
        (tmp_path / name).rename(work / name)
    repo.add(["s.safetensors.index.json", "a.safetensors"])
    repo.commit("made", author=ada)
    for path in ("s.safetensors.index.json", "a.safetensors"):
        _, entry = repo.entry(repo.resolve("HEAD"), path)
        aliases = repo.store.checkpoint(CheckpointId(entry.id)).aliases
        assert aliases == {"b.weight": "a.weight"}


def test_notes_of_the_file_are_kept(repo: Repo, ada: Author, tmp_path: Path) -> None:
    save_file(_tensors(), repo.root / "n.safetensors", {"format": "pt", "note": "é"})
    repo.add(["n.safetensors"])
    repo.commit("m", author=ada)
    conversion = Conversion(dtype="F16", shard_bytes=30_000)
    names = repo.export(
        "HEAD", tmp_path / "x.safetensors", path="n.safetensors", conversion=conversion
    )
    for name in names[1:]:
        with safe_open(tmp_path / name, "pt") as file:
            assert file.metadata() == {"format": "pt", "note": "é"}


def test_numpy_files(repo: Repo, ada: Author, tmp_path: Path) -> None:
    tensors = {n: t for n, t in _tensors().items() if t.dtype != torch.bfloat16}
    tied = {**tensors, "tied": tensors["half"]}
    _committed(repo, ada, tied, "model.pt")
    repo.export("HEAD", tmp_path / "m.npz", path="model.pt")
    with np.load(tmp_path / "m.npz") as loaded:
        assert _same({n: torch.from_numpy(loaded[n]) for n in loaded.files}, tied)
    _committed(repo, ada, {"only": torch.randn(3, 4)})
    repo.export("HEAD", tmp_path / "m.npy", path="model.safetensors")
    expected = load_numpy(repo.root / "model.safetensors")["only"]
    assert np.array_equal(np.load(tmp_path / "m.npy"), expected)
    repo.export("HEAD", repo.root / "back.npz", path="model.safetensors")
    repo.add(["back.npz"])
    repo.commit("npz", author=ada)
    assert _ids(repo, "back.npz") == _ids(repo, "model.safetensors")
    repo.export("HEAD", tmp_path / "again.safetensors", path="back.npz")
    assert np.array_equal(load_numpy(tmp_path / "again.safetensors")["only"], expected)


def test_safetensors_to_torch_by_the_ending(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    repo.export("HEAD", tmp_path / "m.pt", path="model.safetensors")
    loaded = torch.load(tmp_path / "m.pt", weights_only=True)
    assert _same(loaded, _tensors())
    repo.export(
        "HEAD", tmp_path / "h.bin", path="model.safetensors", conversion=Conversion(dtype="F16")
    )
    half = torch.load(tmp_path / "h.bin", weights_only=True)
    assert half["steps"].dtype == torch.int64
    assert torch.equal(half["double"], _tensors()["double"].to(torch.float16))
    (tmp_path / "m.pt").rename(repo.root / "m.pt")
    repo.add(["m.pt"])
    repo.commit("torch", author=ada)
    assert _ids(repo, "m.pt") == _ids(repo, "model.safetensors")


def test_what_a_format_lacks_writes_nothing(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="npz cannot hold BF16") as caught:
        repo.export("HEAD", out / "m.npz", path="model.safetensors")
    assert "--dtype F32" in str(caught.value.hint)
    with pytest.raises(UsageError, match="one tensor, not 9"):
        repo.export("HEAD", out / "m.npy", path="model.safetensors")
    conversion = Conversion(format="npz", shard_bytes=10, dtype="F32")
    with pytest.raises(UsageError, match="cannot be shards"):
        repo.export("HEAD", out / "m.npz", path="model.safetensors", conversion=conversion)
    assert not out.exists()
    conversion = Conversion(dtype="F32")
    repo.export("HEAD", out / "m.npz", path="model.safetensors", conversion=conversion)


def test_requests_that_make_no_sense(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    (repo.root / "a.json").write_text("{}")
    repo.add(["a.json"])
    repo.commit("m", author=ada)
    with pytest.raises(UsageError, match="one checkpoint"):
        repo.export("HEAD", tmp_path / "o", conversion=Conversion(dtype="F16"))
    with pytest.raises(UsageError, match="plain file"):
        repo.export("HEAD", tmp_path / "o", path="a.json", conversion=Conversion(dtype="F16"))
    with pytest.raises(UnknownFile):
        repo.export("HEAD", tmp_path / "o.npz", path="nope")
    for wrong in ({"dtype": "F8_E4M3"}, {"dtype": "I8"}, {"format": "gguf"}, {"shard_bytes": 0}):
        with pytest.raises(UsageError):
            Conversion(**wrong)  # type: ignore[arg-type]
    assert repo.export("HEAD", tmp_path / "b.npz", path="a.json") == ["b.npz"]


def test_nothing_is_overwritten(repo: Repo, ada: Author, tmp_path: Path) -> None:
    _committed(repo, ada, _tensors())
    taken = ("t.safetensors", "s-00002-of-00003.safetensors", "s.safetensors.index.json")
    for name in (*taken, "model.safetensors", "link.npz"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    shards = Conversion(shard_bytes=30_000)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.iterdir()}
    for target, conversion in (
        ("t.safetensors", Conversion(dtype="F16")),
        ("t.safetensors", Conversion()),
        ("s.safetensors", shards),
        ("", Conversion()),
        ("", Conversion(dtype="F16")),
        ("dangling.safetensors", Conversion(dtype="F16")),
    ):
        path = tmp_path / target
        with pytest.raises(UnsavedChanges, match="nothing was written"):
            repo.export("HEAD", path, path="model.safetensors", conversion=conversion)
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_failure_leaves_no_file(
    repo: Repo, ada: Author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _committed(repo, ada, _tensors())
    calls = []

    def stops(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("theta.formats.writing.FileWriter.sync", stops)
    conversion = Conversion(shard_bytes=30_000)
    with pytest.raises(KeyboardInterrupt):
        repo.export(
            "HEAD", tmp_path / "x.safetensors", path="model.safetensors", conversion=conversion
        )
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_transformers_load_what_was_exported(repo: Repo, ada: Author, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    torch.save(model.state_dict(), repo.root / "model.pt")
    repo.add(["model.pt"])
    repo.commit("m", author=ada)
    for conversion in (Conversion(), Conversion(shard_bytes=5000)):
        folder = tmp_path / str(conversion.shard_bytes)
        config.save_pretrained(folder)
        target = folder / "model.safetensors"
        repo.export("HEAD", target, path="model.pt", conversion=conversion)
        loaded = transformers.GPT2LMHeadModel.from_pretrained(folder)
        assert _same(loaded.state_dict(), model.state_dict())
