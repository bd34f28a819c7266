"""The frozen table of element types, in safetensors' spelling.

Owns what a dtype is on disk: how many elements make how many bytes, and which numpy type of the
same width carries its bits. Must not convert values: bits go through untouched.
The table is part of format version 1; a new dtype needs a new format version.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from theta_store.errors import InvalidName, UsageError

Kind = Literal["bool", "int", "uint", "float", "complex", "block", "opaque"]


class DType(msgspec.Struct, frozen=True):
    """One row of the table: ``block`` elements take ``nbytes`` bytes.

    ``width`` is the bytes of one machine word inside an element: what a byte swap turns round and
    what the codecs split into planes. ``carrier`` names the numpy dtype that holds the bits.
    """

    name: str
    kind: Kind
    block: int
    nbytes: int
    width: int
    carrier: str

    @property
    def is_float(self) -> bool:
        """Whether values are real floating-point numbers."""
        return self.kind == "float"

    def size_of(self, shape: tuple[int, ...]) -> int:
        """Return the plain bytes of a tensor of this shape; partial blocks are a `UsageError`."""
        count = math.prod(shape)
        if count % self.block:
            raise UsageError(f"{count} elements of {self.name} do not fill blocks of {self.block}")
        return count // self.block * self.nbytes


def _table() -> Mapping[str, DType]:
    whole: list[tuple[str, Kind, int, str]] = [
        ("BOOL", "bool", 1, "|b1"),
        ("U8", "uint", 1, "|u1"),
        ("I8", "int", 1, "|i1"),
        ("U16", "uint", 2, "<u2"),
        ("I16", "int", 2, "<i2"),
        ("U32", "uint", 4, "<u4"),
        ("I32", "int", 4, "<i4"),
        ("U64", "uint", 8, "<u8"),
        ("I64", "int", 8, "<i8"),
        ("F8_E4M3", "float", 1, "|u1"),
        ("F8_E5M2", "float", 1, "|u1"),
        ("F8_E4M3FNUZ", "float", 1, "|u1"),
        ("F8_E5M2FNUZ", "float", 1, "|u1"),
        ("F8_E8M0", "float", 1, "|u1"),
        ("F16", "float", 2, "<f2"),
        ("BF16", "float", 2, "<u2"),
        ("F32", "float", 4, "<f4"),
        ("F64", "float", 8, "<f8"),
    ]
    rows = [DType(name, kind, 1, size, size, carrier) for name, kind, size, carrier in whole]
    rows += [
        DType("C32", "complex", 1, 4, 2, "<u4"),
        DType("C64", "complex", 1, 8, 4, "<c8"),
        DType("C128", "complex", 1, 16, 8, "<c16"),
    ]
    packed = [("F4", 2, 1), ("F6_E2M3", 4, 3), ("F6_E3M2", 4, 3), ("I4", 2, 1), ("U4", 2, 1)]
    rows += [DType(name, "block", block, size, 1, "|u1") for name, block, size in packed]
    rows += [DType(f"GGML_{name}", "block", block, size, 1, "|u1") for name, block, size in _GGML]
    rows.append(DType("OPAQUE", "opaque", 1, 1, 1, "|u1"))
    return MappingProxyType({row.name: row for row in rows})


# Elements and bytes of one quantised block (llama.cpp, ggml-common.h).
_GGML = (
    ("Q4_0", 32, 18),
    ("Q4_1", 32, 20),
    ("Q5_0", 32, 22),
    ("Q5_1", 32, 24),
    ("Q8_0", 32, 34),
    ("Q8_1", 32, 36),
    ("Q2_K", 256, 84),
    ("Q3_K", 256, 110),
    ("Q4_K", 256, 144),
    ("Q5_K", 256, 176),
    ("Q6_K", 256, 210),
    ("Q8_K", 256, 292),
    ("IQ2_XXS", 256, 66),
    ("IQ2_XS", 256, 74),
    ("IQ3_XXS", 256, 98),
    ("IQ1_S", 256, 50),
    ("IQ4_NL", 32, 18),
    ("IQ3_S", 256, 110),
    ("IQ2_S", 256, 82),
    ("IQ4_XS", 256, 136),
    ("IQ1_M", 256, 56),
    ("TQ1_0", 256, 54),
    ("TQ2_0", 256, 66),
    ("MXFP4", 32, 17),
)

DTYPES: Mapping[str, DType] = _table()


def dtype(name: str) -> DType:
    """Return the row of the table; an unknown name is an `InvalidName`."""
    try:
        return DTYPES[name]
    except KeyError:
        raise InvalidName(f"unknown dtype {name!r}") from None


_BY_NUMPY: Mapping[str, str] = MappingProxyType(
    {row.carrier[1:]: row.name for row in DTYPES.values() if row.kind in {"bool", "int", "uint"}}
    | {"f2": "F16", "f4": "F32", "f8": "F64", "c8": "C64", "c16": "C128"}
)


def from_numpy(kind: str, itemsize: int) -> DType:
    """Return the dtype of a numpy array by ``dtype.kind`` and ``dtype.itemsize``."""
    try:
        return DTYPES[_BY_NUMPY[f"{kind}{itemsize}"]]
    except KeyError:
        raise UsageError(
            f"numpy arrays of kind {kind!r}, {itemsize} bytes, are no tensors"
        ) from None
