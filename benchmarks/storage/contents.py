"""What a checkpoint file holds: tensors as plain bytes, and the bytes around them.

Owns reading .safetensors and .pt for the schemes that look into files, apart from theta's own
reader, so that both cannot share a mistake. Must not know any scheme.
"""

import json
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.storage.transformer import EMBEDDING

Plain = NDArray[np.uint8]
WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1}
_SPELLED = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
}


@dataclass(frozen=True)
class Array:
    """A tensor: dtype in the spelling of safetensors, shape, and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    plain: Plain

    @property
    def width(self) -> int:
        """Bytes per element."""
        return WIDTHS[self.dtype]

    def fits(self, other: "Array | None") -> bool:
        """Say whether another tensor can be subtracted element by element."""
        return other is not None and (self.dtype, self.shape) == (other.dtype, other.shape)


@dataclass(frozen=True)
class Contents:
    """Tensors by name, and all other bytes of the file in their order."""

    tensors: dict[str, Array]
    other: bytes


def is_embedding(name: str) -> bool:
    """Say whether a tensor belongs to the embedding; its moments are the optimizer's first."""
    return name.split("model.")[-1] == EMBEDDING or name.startswith("optimizer.state.0.")


@lru_cache(maxsize=4)
def read_contents(path: Path) -> Contents:
    """Read a checkpoint file."""
    return _read_torch(path) if path.suffix == ".pt" else _read_safetensors(path)


def _read_safetensors(path: Path) -> Contents:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    body = np.frombuffer(data, np.uint8, offset=8 + length)
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = Array(entry["dtype"], tuple(entry["shape"]), body[start:end])
    return Contents(tensors, data[: 8 + length])


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    """Write tensors in their order, with no metadata."""
    header, at = {}, 0
    for name, array in tensors.items():
        span = [at, at + array.plain.size]
        header[name] = {"dtype": array.dtype, "shape": array.shape, "data_offsets": span}
        at = span[1]
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    body = b"".join(array.plain.tobytes() for array in tensors.values())
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)


def _read_torch(path: Path) -> Contents:
    tensors = {
        name: Array(_SPELLED[value.dtype], tuple(value.shape), _plain(value))
        for name, value in _flatten("", torch.load(path, weights_only=True))
    }
    return Contents(tensors, _around_storages(path))


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), item)


def _plain(value: torch.Tensor) -> Plain:
    plain: Plain = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return plain


def _around_storages(path: Path) -> bytes:
    """Return a zip file without the data of its entries ``…/data/N``."""
    data = path.read_bytes()
    kept, at = [], 0
    with zipfile.ZipFile(path) as archive:
        entries = [info for info in archive.infolist() if "/data/" in info.filename]
    for info in sorted(entries, key=lambda info: info.header_offset):
        name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
        start = info.header_offset + 30 + name + extra
        kept.append(data[at:start])
        at = start + info.file_size
    return b"".join([*kept, data[at:]])
