"""A new torch file: tensors as one flat state dict, laid out as ``torch.save`` lays them out.

Owns the pickle of such a file, opcode by opcode, and its entries. Must not import torch, nor pickle
anything: the names it spells are those of tensors, their storages and ``OrderedDict``, all that
``torch.load(weights_only=True)`` needs.

A file made here has tensors and nothing else. What else an older file held (an epoch, the nesting
of its containers) is lost, so only an export may call it, never a merge.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence

from theta.formats.base import TensorSpec
from theta.formats.layout import Layout, Span
from theta.formats.torch_pickle import DTYPES, STORAGES
from theta.formats.zip_writing import NewEntry, compose_zip
from theta_store.dtypes import dtype
from theta_store.errors import UsageError

FOLDER = "archive"
ALIGNMENT = 64

_PROTOCOL, _STOP, _MARK, _TUPLE, _EMPTY_TUPLE = b"\x80\x02", b".", b"(", b"t", b")"
_REDUCE, _SET_ITEMS, _PERSISTENT_ID, _FALSE = b"R", b"u", b"Q", b"\x89"
_STORAGE_OF = {kind: name for name, kind in STORAGES.items()}
# The first spelling of a dtype is its own, later ones are synonyms.
_DTYPE_OF = {kind: name for name, kind in reversed(DTYPES.items()) if kind != "OPAQUE"}


def compose_torch(tensors: Sequence[TensorSpec], aliases: Mapping[str, str]) -> Layout:
    """Return the layout of a file of these tensors; tied names share a storage.

    A dtype that torch lacks, or a name that comes twice, is a `UsageError`.
    """
    names = [*(spec.name for spec in tensors), *aliases]
    if len(set(names)) < len(names):
        raise UsageError("torch cannot hold two tensors of one name")
    for spec in tensors:
        if spec.dtype not in _DTYPE_OF:
            raise UsageError(f"torch cannot hold {spec.dtype}, the dtype of {spec.name!r}")
    fixed = {"data.pkl": _pickle(tensors, aliases), ".format_version": b"1"}
    fixed |= {".storage_alignment": b"64", "byteorder": b"little"}
    entries = [NewEntry(f"{FOLDER}/{name}", (data,)) for name, data in fixed.items()]
    for key, spec in enumerate(tensors):
        spans = (Span(spec.name, 0, spec.nbytes),) if spec.nbytes else ()
        entries.append(NewEntry(f"{FOLDER}/data/{key}", spans, ALIGNMENT))
    entries.append(NewEntry(f"{FOLDER}/version", (b"3\n",)))
    return compose_zip(entries)


def _pickle(tensors: Sequence[TensorSpec], aliases: Mapping[str, str]) -> bytes:
    keys = {spec.name: key for key, spec in enumerate(tensors)}
    items = [(spec.name, spec, key) for key, spec in enumerate(tensors)]
    items += [(alias, tensors[keys[name]], keys[name]) for alias, name in aliases.items()]
    body = b"".join(_text(name) + _tensor(spec, key) for name, spec, key in items)
    return _PROTOCOL + _ordered_dict() + _MARK + body + _SET_ITEMS + _STOP


def _tensor(spec: TensorSpec, key: int) -> bytes:
    """Return the call that makes a tensor; dtypes without a storage class of their own need v3."""
    row, count = dtype(spec.dtype), math.prod(spec.shape)
    own = _STORAGE_OF.get(spec.dtype)
    kind = _global("torch", own) if own else _global("torch.storage", "UntypedStorage")
    unit = 1 if own else row.nbytes
    storage = _tuple(_text("storage"), kind, _text(f"{key}"), _text("cpu"), _whole(count * unit))
    shape = _tuple(*map(_whole, spec.shape))
    strides = _tuple(*map(_whole, _strides(spec.shape)))
    view = (storage + _PERSISTENT_ID, _whole(0), shape, strides, _FALSE, _ordered_dict())
    more = () if own else (_global("torch", _DTYPE_OF[spec.dtype]),)
    function = _global("torch._utils", "_rebuild_tensor_v2" if own else "_rebuild_tensor_v3")
    return function + _tuple(*view, *more) + _REDUCE


def _strides(shape: tuple[int, ...]) -> Iterator[int]:
    return (math.prod(max(length, 1) for length in shape[axis + 1 :]) for axis in range(len(shape)))


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _tuple(*items: bytes) -> bytes:
    return _MARK + b"".join(items) + _TUPLE


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _whole(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes((len(data),)) + data
