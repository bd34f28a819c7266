"""A made model as a safetensors file, and the same model after a full fine-tune.

Owns the values: normal with sigma 0.02, in tensors of 16 MiB, the same on every run. Must not know
what is measured with them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TENSOR_BYTES = 16 << 20
COLUMNS = 2048
SPREAD = 0.02
# What some steps of Adam add up to; in bf16 far more of them, for each must change every element.
STEP = {"F32": 1e-5, "BF16": 1e-4}
WIDTH = {"F32": 4, "BF16": 2}

Words = NDArray[np.unsignedinteger[Any]]


def weights(seed: int, count: int) -> NDArray[np.float32]:
    """Return random weights."""
    return np.random.default_rng(seed).standard_normal(count, np.float32) * np.float32(SPREAD)


def to_words(values: NDArray[np.float32], dtype: str) -> Words:
    """Return the bit patterns of weights in a dtype, rounded to nearest even."""
    bits = values.view(np.uint32)
    if dtype == "F32":
        return bits
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)


def from_words(words: Words, dtype: str) -> NDArray[np.float32]:
    """Return the weights of bit patterns."""
    if dtype == "F32":
        return words.view(np.float32)
    return (words.astype(np.uint32) << 16).view(np.float32)


def tuned(words: Words, dtype: str, seed: int) -> Words:
    """Return weights after a step of nearly the same size everywhere; none stays as it was.

    Where rounding to the dtype would swallow the step, the last bit moves.
    """
    random = np.random.default_rng(seed)
    sizes = 1 + np.float32(0.3) * random.standard_normal(len(words), np.float32)
    sizes[random.random(len(words), np.float32) < 0.5] *= -1
    moved = to_words(from_words(words, dtype) + np.float32(STEP[dtype]) * sizes, dtype)
    return np.where(moved == words, words ^ 1, moved).astype(words.dtype)


def make_model(path: Path, dtype: str, mib: int) -> None:
    """Write a model of so many MiB."""
    count = (mib << 20) // TENSOR_BYTES
    elements = TENSOR_BYTES // WIDTH[dtype]
    _write(path, dtype, count, (to_words(weights(i, elements), dtype) for i in range(count)))


def make_tuned(old: Path, path: Path, dtype: str) -> None:
    """Write the fine-tuned twin of a model that `make_model` wrote."""
    with old.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    count = (old.stat().st_size - start) // TENSOR_BYTES
    elements = TENSOR_BYTES // WIDTH[dtype]
    before = np.memmap(old, f"<u{WIDTH[dtype]}", "r", start).reshape(count, elements)
    _write(path, dtype, count, (tuned(np.array(before[i]), dtype, 1000 + i) for i in range(count)))


def _write(path: Path, dtype: str, count: int, tensors: Iterator[Words]) -> None:
    shape = [TENSOR_BYTES // WIDTH[dtype] // COLUMNS, COLUMNS]
    header = {
        f"layers.{i}.weight": {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [i * TENSOR_BYTES, (i + 1) * TENSOR_BYTES],
        }
        for i in range(count)
    }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for words in tensors:
            out.write(words.data)
