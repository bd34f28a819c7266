"""New torch files load in torch, with nothing but tensors allowed, and come back in theta."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theta.formats import files_torch
from tests.theta.formats.round_trip import check_round_trip, join
from theta.formats.base import TensorSpec
from theta.formats.torch_pickle import DTYPES
from theta.formats.torch_writing import compose_torch
from theta.formats.torch_zip import TorchZip
from theta_store.dtypes import dtype
from theta_store.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")


def _plain(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _written(target: Path, tensors: Mapping[str, torch.Tensor], aliases: Mapping[str, str]) -> Path:
    specs = {
        name: TensorSpec(name, DTYPES[str(t.dtype).removeprefix("torch.")], tuple(t.shape))
        for name, t in tensors.items()
    }
    layout = compose_torch(list(specs.values()), aliases)
    join(layout, {}, specs, {name: _plain(t) for name, t in tensors.items()}, target)
    return target


def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = {str(kind): (torch.randn(2, 3) * 3).to(kind) for kind in files_torch.TORCH_DTYPES}
    shapes = {
        "scalar": torch.tensor(2.5),
        "nothing": torch.empty(0, 3),
        "none": torch.empty(2, 3, 0),
        "größe": torch.randn(3, 4, 5),
    }
    return found | shapes


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_every_dtype(tmp_path: Path, mmap: bool) -> None:
    tensors = _tensors()
    path = _written(tmp_path / "m.pt", tensors, {"tied": "scalar"})
    loaded = torch.load(path, weights_only=True, mmap=mmap)
    assert list(loaded) == [*tensors, "tied"]
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert loaded[name].stride() == tensor.stride()
        assert _plain(loaded[name]) == _plain(tensor)
    assert loaded["tied"].data_ptr() == loaded["scalar"].data_ptr()


def test_theta_reads_the_same_tensors(tmp_path: Path) -> None:
    tensors = _tensors()
    path = _written(tmp_path / "m.pt", tensors, {"tied": "scalar"})
    scan, plains = check_round_trip(path, TorchZip(), tmp_path / "out")
    assert plains == {name: _plain(tensor) for name, tensor in tensors.items()}
    assert scan.aliases == {"tied": "scalar"}


def test_storages_are_aligned_and_checksums_hold(tmp_path: Path) -> None:
    path = _written(tmp_path / "m.pt", _tensors(), {})
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            if info.filename.startswith("archive/data/"):
                head = path.read_bytes()[info.header_offset :]
                name, extra = (int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
                assert (info.header_offset + 30 + name + extra) % 64 == 0


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.lists(st.integers(0, 70_000), max_size=3).map(
            lambda shape: tuple(n % 3 if i else n for i, n in enumerate(shape))
        ),
        max_size=4,
    )
)
def test_any_names_and_shapes(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, tuple[int, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("torch")
    tensors = {name: torch.ones(shape, dtype=torch.int8) for name, shape in shapes.items()}
    loaded = torch.load(_written(folder / "m.pt", tensors, {}), weights_only=True)
    assert {name: tuple(t.shape) for name, t in loaded.items()} == shapes


def test_large_numbers_are_spelled(tmp_path: Path) -> None:
    specs = [TensorSpec("x", "U8", (0, 3_000_000_000, 2))]
    join(compose_torch(specs, {}), {}, {"x": specs[0]}, {"x": b""}, tmp_path / "m.pt")
    loaded = torch.load(tmp_path / "m.pt", weights_only=True)
    assert loaded["x"].shape == (0, 3_000_000_000, 2)


def test_what_torch_lacks_is_a_usage_error() -> None:
    for kind in ("OPAQUE", "F4", "GGML_Q4_0"):
        spec = TensorSpec("x", kind, (dtype(kind).block,))
        with pytest.raises(UsageError, match=kind):
            compose_torch([spec], {})
    one = TensorSpec("x", "F32", (1,))
    for aliases in ({}, {"x": "x"}):
        with pytest.raises(UsageError, match="one name"):
            compose_torch([one] if aliases else [one, one], aliases)
