"""Rows of the chunk index: how a chunk is kept, and what its decoding needs.

Owns the bytes of a form row. Must not know where rows live nor how payload is decoded.

A row is never content-addressed: the same chunk may be kept in another form tomorrow. Decoding
depends on the payload and on the *plain* bytes of the needs, never on how those are stored.
"""

from typing import Literal

import msgspec

from theta_store.errors import ForeignRepository, MalformedRecord

ROW_VERSION = 1
NO_PREDICTOR = 0
# No volume has this number: the form stores nothing.
NO_VOLUME = 0


class Need(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A chunk, or the bytes [start, stop) of a tensor, that a form is decoded from."""

    kind: Literal["chunk", "tensor"]
    id: bytes
    start: int
    stop: int


class Form(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """How one chunk is kept.

    ``predictor``, ``codec`` and ``version`` are frozen numbers; ``width`` is the bytes of one
    machine word of the elements (equal bytes may be U8 or F32); ``plain`` and ``stored`` are
    lengths in bytes; ``depth`` is greater than that of every need; ``born`` is the number of the
    transaction of ``meta`` that wrote the row.
    """

    volume: int
    predictor: int
    codec: int
    version: int
    width: int
    plain: int
    stored: int
    depth: int
    needs: tuple[Need, ...]
    born: int

    @property
    def has_payload(self) -> bool:
        """Whether a volume holds something of it; else the chunk is its guess, in volume 0."""
        return self.stored > 0

    def share(self, start: int, stop: int) -> float:
        """Return what the plain bytes ``start`` to ``stop`` take of the stored bytes."""
        return self.stored * ((stop - start) / max(self.plain, 1))


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(Form)


def encode_form(form: Form) -> bytes:
    """Return the bytes of a row: its version, then a MessagePack array of its fields."""
    return bytes((ROW_VERSION,)) + _ENCODER.encode(form)


def decode_form(row: bytes) -> Form:
    """Read a row; a version this program does not know is a `ForeignRepository`."""
    if row[:1] != bytes((ROW_VERSION,)):
        raise ForeignRepository(
            f"form rows of version {row[:1].hex() or 'none'} need a newer theta",
            hint="pip install --upgrade theta-vcs",
        )
    try:
        return _DECODER.decode(row[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedRecord(f"not a form row: {error}") from None
