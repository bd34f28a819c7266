"""Heads: the parameters of a predictor, stored in front of the payload of each chunk it predicts.

Owns their bytes and the checks that all of them share. Must not know any particular predictor.

A head is a canonical MessagePack array; a field, once released, keeps its place and meaning.
"""

from typing import TypeVar

import msgspec
import numpy as np

from theta_store.arithmetic import is_computable
from theta_store.dtypes import DTYPES, DType
from theta_store.errors import ForeignRepository, IntegrityError
from theta_store.scratch import Bytes

# No tensor has more elements, rows or columns: what is larger is damage, and could overflow.
LARGEST = 1 << 48


class AnyHead(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What all heads share: immutability and array-shaped MessagePack."""


T = TypeVar("T", bound=AnyHead)
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def encode_head(head: AnyHead) -> bytes:
    """Return the bytes of a head."""
    return _ENCODER.encode(head)


def decode_head(kind: type[T], data: bytes | memoryview) -> T:
    """Read a head; what is not its canonical spelling, or asks for nonsense, is refused."""
    try:
        head = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise IntegrityError(f"the head of a prediction is damaged: {error}") from None
    if encode_head(head) != bytes(data):
        raise IntegrityError("the head of a prediction is not canonical")
    return head


def check(holds: bool, what: str) -> None:
    """Refuse, as an `IntegrityError`, what a stored prediction says when it cannot be."""
    if not holds:
        raise IntegrityError(f"a stored prediction is damaged: {what}")


def check_formula(formula: int, known: tuple[int, ...]) -> None:
    """Refuse a formula that this program cannot compute."""
    check(formula >= 1, f"formula {formula}")
    if formula not in known:
        raise ForeignRepository(
            f"a chunk is predicted by formula {formula}: a newer theta is needed",
            hint="pip install --upgrade theta-vcs",
        )


def whole_elements(base: memoryview | Bytes, row: DType) -> Bytes:
    """Return the bytes of a base; part of an element at its end is an `IntegrityError`."""
    plain = np.frombuffer(base, np.uint8)
    check(len(plain) % row.nbytes == 0, f"a base that is no whole elements of {row.name}")
    return plain


def computable(name: str) -> DType:
    """Return the dtype of this name; one that cannot be computed with is an `IntegrityError`."""
    check(name in DTYPES and is_computable(DTYPES[name]), f"dtype {name!r}")
    return DTYPES[name]
