"""Chunks: from plain bytes to a payload and back, every hash verified.

Owns the way from an id through the index row and the volume to verified plain bytes. Must not
know tensors, records or sessions.
"""

import msgspec

from theta_store.codecs.base import Scratch
from theta_store.db import Meta, Volumes
from theta_store.dtypes import DType
from theta_store.errors import ForeignRepository, HashMismatch, IntegrityError, MissingObject
from theta_store.forms import NO_PREDICTOR, Form
from theta_store.ids import ChunkId, chunk_id, short
from theta_store.objects import find_form
from theta_store.payloads import Payload
from theta_store.selector import decode_chunk, encode_chunk


def encode_payload(
    id_: ChunkId, plain: memoryview, *, dtype: DType | None, scratch: Scratch
) -> Payload:
    """Return a chunk's payload and its form; ``dtype`` is None for the bytes of a blob."""
    made = encode_chunk(plain, dtype=dtype, scratch=scratch)
    form = Form(
        volume=0,
        predictor=NO_PREDICTOR,
        codec=made.number,
        version=made.version,
        width=made.width,
        plain=len(plain),
        stored=len(made.payload),
        depth=0,
        needs=(),
        born=0,
    )
    return Payload(id_, form, bytes(made.payload))


class Chunks:
    """Reads chunks of one store; safe to use from many threads, each with its own scratch."""

    def __init__(self, meta: Meta, volumes: Volumes) -> None:
        self._meta = meta
        self._volumes = volumes

    def read_into(self, id_: ChunkId, out: memoryview, scratch: Scratch) -> None:
        """Fill ``out`` with the plain bytes of a chunk of exactly that length.

        gc may move payload between the look at the index and the look at the volume; then the
        row has changed and the read starts again.
        """
        tried: Form | None = None
        while True:
            with self._meta.read() as reader:
                form = find_form(reader, id_)
            if form is None or form == tried:
                raise MissingObject(f"chunk {short(id_)} is missing", hint="theta fsck")
            tried = form
            if self._read_form(id_, form, out, scratch):
                return

    def _read_form(self, id_: ChunkId, form: Form, out: memoryview, scratch: Scratch) -> bool:
        if form.plain != len(out):
            raise IntegrityError(
                f"chunk {short(id_)} has {form.plain} bytes where {len(out)} are named"
            )
        if form.predictor != NO_PREDICTOR:
            raise ForeignRepository(
                f"chunk {short(id_)} is kept by predictor {form.predictor}: a newer theta is needed"
            )
        try:
            volume = self._volumes.get(form.volume)
        except MissingObject:
            return False
        with volume.payload(id_) as payload:
            if payload is None:
                return False
            self._decode(id_, form, payload, out, scratch)
        if chunk_id(out) != id_:
            raise HashMismatch(f"chunk {short(id_)} is damaged", hint="theta fsck")
        return True

    def _decode(
        self, id_: ChunkId, form: Form, payload: memoryview, out: memoryview, scratch: Scratch
    ) -> None:
        if len(payload) != form.stored:
            raise IntegrityError(f"chunk {short(id_)} is damaged: its payload changed length")
        try:
            decode_chunk(form.codec, form.version, form.width, payload, out, scratch)
        except IntegrityError as error:
            message = f"chunk {short(id_)} is damaged: {error}"
            raise HashMismatch(message, hint="theta fsck") from None


def with_birth(form: Form, number: int) -> Form:
    """Return a form born in transaction ``number``."""
    return msgspec.structs.replace(form, born=number)
