"""Small safetensors files with many tensors, and large ones that are mostly holes.

Owns their bytes. Must not know what is measured. The same arguments give the same bytes.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.fixed_model import to_words, weights

CHUNK = 1 << 20
BLOCK = 4096
COLUMNS = 4096


def write_small(path: Path, tensors: int, elements: int) -> None:
    """Write so many fp32 tensors of random values."""
    names = [f"layers.{number}.weight" for number in range(tensors)]
    values = np.random.default_rng(tensors).standard_normal(tensors * elements, np.float32)
    path.write_bytes(_head(names, "F32", [elements], 4 * elements) + values.tobytes())


def change_small(path: Path, seed: int, number: int = 0) -> None:
    """Change the last tensor's last element; another ``number`` is another change."""
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(np.float32(seed + (number + 1) / 8).tobytes())


def warm(path: Path) -> None:
    """Read a file, so that the page cache holds it."""
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK):
            pass


def write_sparse(path: Path, name: str, mib: int, seed: int) -> None:
    """Write one bf16 tensor: 4 KiB of weights at the start of every MiB, holes in between."""
    head = _head([name], "BF16", [mib * CHUNK // 2 // COLUMNS, COLUMNS], mib * CHUNK)
    with path.open("wb") as file:
        file.write(head)
        for number in range(mib):
            file.seek(len(head) + number * CHUNK)
            file.write(to_words(weights(seed * mib + number, BLOCK // 2), "BF16").data)
        file.truncate(len(head) + mib * CHUNK)


def write_index(path: Path, placed: dict[str, str]) -> None:
    """Write the index of shards."""
    path.write_text(json.dumps({"metadata": {}, "weight_map": placed}) + "\n")


def _head(names: Sequence[str], dtype: str, shape: list[int], size: int) -> bytes:
    header = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names)
    }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head
