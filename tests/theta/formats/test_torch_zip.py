"""torch files come apart and together again to the very bytes, and their values are torch's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.theta.formats import files_torch as files
from tests.theta.formats.round_trip import check_round_trip, plain_of
from theta.formats.base import Scan
from theta.formats.layout import Computed, Scatter, Span
from theta.formats.reading import FileReader
from theta.formats.torch_zip import TorchZip
from theta_store.errors import MalformedFile, UnsafePickle

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")


def _scan(path: Path) -> Scan:
    with FileReader(path) as file:
        return TorchZip().scan(file)


def _plain(path: Path) -> dict[str, bytes]:
    with FileReader(path) as file:
        scan = TorchZip().scan(file)
        return {name: plain_of(source) for name, source in scan.tensors.items()}


def _bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().flatten()
    return b"" if not flat.numel() else bytes(flat.view(torch.uint8).numpy().tobytes())


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", files.OBJECTS)
def test_every_kind_of_file_comes_back(tmp_path: Path, name: str, protocol: int) -> None:
    path = tmp_path / f"{name}.pt"
    files.save(path, files.OBJECTS[name](), protocol=protocol)
    check_round_trip(path, TorchZip(), tmp_path / "back.pt")


def test_values_and_names_of_a_nested_checkpoint(tmp_path: Path) -> None:
    value = files.nested_checkpoint()
    files.save(tmp_path / "c.pt", value)
    plain = _plain(tmp_path / "c.pt")
    assert plain["model.0.weight"] == _bits(value["model"]["0.weight"])  # type: ignore[index]
    state = value["optimizer"]["state"]  # type: ignore[index]
    assert plain["optimizer.state.[0].exp_avg"] == _bits(state[0]["exp_avg"])
    assert {"best.[1]", "best.[None].[0]", "best.[None].[1].[0]"} <= plain.keys()


def test_values_of_every_dtype(tmp_path: Path) -> None:
    value = files.dtypes()
    files.save(tmp_path / "d.pt", value)
    plain = _plain(tmp_path / "d.pt")
    assert plain == {name: _bits(tensor) for name, tensor in value.items()}  # type: ignore[attr-defined]


def test_tied_weights_are_one_tensor_and_an_alias(tmp_path: Path) -> None:
    files.save(tmp_path / "t.pt", files.tied())
    scan = _scan(tmp_path / "t.pt")
    assert list(scan.tensors) == ["embed.weight"]
    assert scan.aliases == {"lm_head.weight": "embed.weight"}


def test_views(tmp_path: Path) -> None:
    value = files.views()
    files.save(tmp_path / "v.pt", value)
    scan, plain = _scan(tmp_path / "v.pt"), _plain(tmp_path / "v.pt")
    for name, data in plain.items():
        assert data == _bits(value[name]), name  # type: ignore[index]
    assert set(value) - set(plain) == {"overlapping", "expanded", "row of base"}  # type: ignore[call-overload]
    kinds = {s.name: type(s) for s in scan.layout.segments if isinstance(s, Span | Scatter)}
    assert kinds["transposed"] is Span
    assert kinds["sliced"] is kinds["every second"] is Scatter


def test_checksums_are_computed_and_the_serialization_id_is_named(tmp_path: Path) -> None:
    value = {"w": torch.arange(8.0)}
    files.save(tmp_path / "a.pt", value)
    scan = _scan(tmp_path / "a.pt")
    assert set(scan.literals) == {"serialization_id"}
    assert sum(isinstance(s, Computed) for s in scan.layout.segments) == 2 * 7
    assert [check.entry for check in scan.checks] == ["a/data/0"]


def test_without_checksums_nothing_is_claimed(tmp_path: Path) -> None:
    path = tmp_path / "n.pt"
    files.save_without_checksums(path, files.nested_checkpoint())
    assert _scan(path).checks == ()
    check_round_trip(path, TorchZip(), tmp_path / "back.pt")


@pytest.mark.parametrize(
    "drop", [{".data/serialization_id"}, {"byteorder"}, {".format_version", ".storage_alignment"}]
)
def test_older_writers(tmp_path: Path, drop: set[str]) -> None:
    files.save(tmp_path / "s.pt", files.state_dict())
    files.rewrite(
        tmp_path / "s.pt",
        tmp_path / "old.pt",
        lambda entries: {n: d for n, d in entries.items() if n not in drop},
    )
    check_round_trip(tmp_path / "old.pt", TorchZip(), tmp_path / "back.pt")
    assert _plain(tmp_path / "old.pt") == _plain(tmp_path / "s.pt")


def test_big_endian_files_give_little_endian_tensors(tmp_path: Path) -> None:
    value = {"w": torch.randn(5, 3), "t": torch.randn(4, 6).t(), "s": torch.randn(9)[::2]}
    files.save(tmp_path / "l.pt", value)
    files.rewrite(tmp_path / "l.pt", tmp_path / "b.pt", lambda e: files.as_big_endian(e, 4))
    check_round_trip(tmp_path / "b.pt", TorchZip(), tmp_path / "back.pt")
    assert _plain(tmp_path / "b.pt") == {name: _bits(t) for name, t in value.items()}


def test_a_flipped_byte_fails_the_files_own_checksum(tmp_path: Path) -> None:
    path = tmp_path / "f.pt"
    files.save(path, {"w": torch.randn(4, 4).t(), "x": torch.randn(100)})
    data = bytearray(path.read_bytes())
    at = data.find(np.float32(files.torch.load(path)["w"].t().contiguous()[0, 0]).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(MalformedFile, match=r"data/0 fails its CRC-32"):
        _scan(path)


def test_torchscript_is_refused_as_code(tmp_path: Path) -> None:
    path = tmp_path / "s.pt"
    files.save(path, files.state_dict())
    files.rewrite(
        path, tmp_path / "script.pt", lambda e: {**e, "code/a.py": b"", "constants.pkl": b"."}
    )
    with pytest.raises(UnsafePickle, match="TorchScript"):
        _scan(tmp_path / "script.pt")


@pytest.mark.parametrize("cut", [1, 30, 200, 1000])
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.pt"
    files.save(path, files.state_dict())
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(MalformedFile):
        _scan(path)


def test_a_storage_of_another_size_is_refused(tmp_path: Path) -> None:
    files.save(tmp_path / "a.pt", {"w": torch.randn(8)})
    files.rewrite(tmp_path / "a.pt", tmp_path / "b.pt", lambda e: {**e, "data/0": e["data/0"][:-4]})
    with pytest.raises(MalformedFile, match="its pickle says 32"):
        _scan(tmp_path / "b.pt")
    files.rewrite(
        tmp_path / "a.pt",
        tmp_path / "c.pt",
        lambda e: {n: d for n, d in e.items() if n != "data/0"},
    )
    with pytest.raises(MalformedFile, match="missing"):
        _scan(tmp_path / "c.pt")


def test_numpy_and_python_states_need_no_torch_here(tmp_path: Path) -> None:
    files.save(tmp_path / "r.pt", files.random_states())
    assert list(_plain(tmp_path / "r.pt")) == ["cpu"]


def test_a_class_of_somebody_else_is_named(tmp_path: Path) -> None:
    import argparse

    files.save(tmp_path / "u.pt", {"args": argparse.Namespace(a=1), "w": torch.ones(2)})
    with pytest.raises(UnsafePickle, match=r"argparse\.Namespace"):
        _scan(tmp_path / "u.pt")
