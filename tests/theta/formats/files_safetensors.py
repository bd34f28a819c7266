"""Safetensors files for tests: real ones, and ones put together by hand."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import TensorSpec as Written
from safetensors import serialize

from theta_store.dtypes import dtype

# How the safetensors package spells the dtypes that it can write.
SPELLINGS = {
    "BOOL": "bool",
    "F4": "float4_e2m1fn_x2",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]


def noise(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def tensors_of(dtypes: Sequence[str], shape: tuple[int, ...] = (3, 8)) -> Tensors:
    """Return one noisy tensor of each dtype, named in an order that is not the file's."""
    return {
        f"{index % 3}.{name}": (name, shape, noise(index, dtype(name).size_of(shape)))
        for index, name in enumerate(dtypes)
    }


def written(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the file that the safetensors package writes."""
    arrays = {name: np.frombuffer(plain, np.uint8) for name, (_, _, plain) in tensors.items()}
    specs = {}
    for name, (kind, shape, plain) in tensors.items():
        # The package counts packed pairs of F4 along the last axis and doubles them itself.
        stored = (*shape[:-1], shape[-1] // 2) if kind == "F4" else shape
        specs[name] = Written(
            dtype=SPELLINGS[kind],
            shape=list(stored),
            data_ptr=arrays[name].ctypes.data,
            data_len=len(plain),
        )
    return bytes(serialize(specs, dict(metadata) if metadata is not None else None))


def framed(header: bytes | object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a file with any header, and any claim of its length."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(encoded) if length is None else length).to_bytes(8, "little") + encoded + data


def entry(kind: str, shape: Sequence[int], start: int, stop: int) -> dict[str, object]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, stop]}


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
