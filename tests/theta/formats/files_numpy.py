"""numpy files for tests: arrays of every kind that numpy writes."""

import io
import math

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

DTYPES = [
    *("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"),
    *("<c8", "<c16", ">i2", ">u4", ">i8", ">f2", ">f4", ">f8", ">c8", ">c16"),
    *("|V1", "|V2", "|V3"),
]
Array = NDArray[np.generic]


def noise(spelling: str, shape: tuple[int, ...], seed: int = 0, *, fortran: bool = False) -> Array:
    """Return an array of random bits, NaN payloads and all."""
    kind = np.dtype(spelling)
    data = np.random.default_rng(seed).bytes(kind.itemsize * math.prod(shape))
    if spelling == "|b1":
        data = bytes(byte & 1 for byte in data)
    array: Array = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    return array


shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
arrays = st.builds(
    noise, st.sampled_from(DTYPES), shapes, st.integers(0, 2**32), fortran=st.booleans()
)


def plain(array: Array) -> bytes:
    """Return the bytes that the store keeps: little-endian, C order."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def saved(array: Array, version: tuple[int, int] | None = None) -> bytes:
    """Return the file that numpy writes."""
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version, allow_pickle=True)
    return out.getvalue()


def npy(header: str | bytes, data: bytes = b"", *, version: int = 1, length: int = -1) -> bytes:
    """Return a file with any header, and any claim of its length."""
    raw = header if isinstance(header, bytes) else header.encode()
    size = (len(raw) if length < 0 else length).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + size + raw + data
