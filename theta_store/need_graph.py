"""The laws of needs: each is strictly less deep, and knows its dependants.

Owns the walk that finds breaches. Must not know payload, refs, nor what becomes of a breach.
"""

from collections.abc import Iterator

from theta_store.db import Reader, Table
from theta_store.errors import ThetaError
from theta_store.forms import Form, decode_form
from theta_store.ids import ChunkId, short
from theta_store.objects import find_form, need_chunks
from theta_store.sealed import unseal

MAX_DEPTH = 8


def breaches(reader: Reader) -> Iterator[tuple[ChunkId, str]]:
    """Yield each chunk whose needs break a law, and how; rows that cannot be read are left out."""
    for key in reader.keys(Table.CHUNKS):
        row = reader.get(Table.CHUNKS, key)
        try:
            form = decode_form(unseal(Table.CHUNKS, key, row or b""))
        except ThetaError:
            continue
        for message in _broken(reader, ChunkId(key), form):
            yield ChunkId(key), message


def _broken(reader: Reader, id_: ChunkId, form: Form) -> Iterator[str]:
    if form.depth > MAX_DEPTH or (form.depth == 0 and form.needs):
        yield f"chunk {short(id_)} is {form.depth} deep"
    for need in form.needs:
        for chunk in need_chunks(reader, need):
            below = _form(reader, chunk)
            if below is None:
                continue
            if below.depth >= form.depth:
                yield f"chunk {short(id_)} is not deeper than {short(chunk)}, which it needs"
            if reader.get(Table.DEPENDANTS, chunk + id_) is None:
                yield f"chunk {short(id_)} is not known as a dependant of {short(chunk)}"


def _form(reader: Reader, id_: ChunkId) -> Form | None:
    try:
        return find_form(reader, id_)
    except ThetaError:
        return None
