"""Real files of torch.save: what users have, and the corners of it."""

import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

TORCH_DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.complex64, torch.complex128),
    torch.float8_e8m0fnu,
    torch.complex32,
]


def _net() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2)
    )


def state_dict() -> object:
    return _net().state_dict()


def nested_checkpoint() -> object:
    net = _net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(4, 7)).sum().backward()
        optimizer.step()
        scheduler.step()
    return {
        "epoch": 3,
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "best": {"val.loss": 0.5, 1: torch.ones(2), None: [torch.zeros(1), (torch.ones(3),)]},
    }


def tied() -> object:
    weight = torch.randn(6, 4)
    return OrderedDict([("embed.weight", weight), ("lm_head.weight", weight)])


def views() -> object:
    base = torch.arange(100.0).reshape(10, 10)
    other = torch.randn(4, 3, 2)
    return {
        "transposed": base.t(),
        "permuted": other.permute(2, 0, 1),
        "sliced": torch.randn(8, 6)[:, :3],
        "every second": torch.randn(9)[::2],
        "first half": (half := torch.randn(20))[:10],
        "second half": half[10:],
        "overlapping": half[5:15],
        "expanded": torch.randn(1, 3).expand(4, 3),
        "row of base": base[3],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "one": torch.randn(5, 1, 3).transpose(0, 1),
        "uncovered": torch.randn(50)[40:],
    }


def dtypes() -> object:
    return {str(d): torch.arange(6).reshape(2, 3).to(torch.float32).to(d) for d in TORCH_DTYPES}


def random_states() -> object:
    return {
        "python": random.Random(1).getstate(),
        "numpy": np.random.RandomState(1).get_state(),
        "cpu": torch.random.get_rng_state(),
        "array": np.arange(5),
        "scalar": np.float64(2.5),
    }


def parameters() -> object:
    return [torch.nn.Parameter(torch.randn(3)), torch.Size([1, 2]), torch.device("cpu"), {1, 2}]


def sparse() -> object:
    return {"s": torch.eye(4).to_sparse(), "bytes": b"x", "big": 1 << 80}


def root_tensor() -> object:
    return torch.randn(3, 3)


OBJECTS: dict[str, Callable[[], object]] = {
    made.__name__: made
    for made in (
        state_dict,
        nested_checkpoint,
        tied,
        views,
        dtypes,
        random_states,
        parameters,
        sparse,
        root_tensor,
    )
}


def save(path: Path, value: object, *, protocol: int = 2) -> None:
    torch.save(value, path, pickle_protocol=protocol)


def save_without_checksums(path: Path, value: object) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(value, path)
    finally:
        torch.serialization.set_crc32_options(True)


def rewrite(
    source: Path, target: Path, change: Callable[[dict[str, bytes]], Mapping[str, bytes]]
) -> None:
    """Write a torch file again by Python's zipfile, with other entries."""
    with zipfile.ZipFile(source) as archive:
        folder = archive.namelist()[0].split("/")[0]
        entries = {n.split("/", 1)[1]: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in change(entries).items():
            archive.writestr(f"{folder}/{name}", data)


def as_big_endian(entries: dict[str, bytes], width: int) -> Mapping[str, bytes]:
    swapped = {
        name: np.frombuffer(data, f"<u{width}").byteswap().tobytes()
        if name.startswith("data/")
        else data
        for name, data in entries.items()
    }
    return {**swapped, "byteorder": b"big"}
