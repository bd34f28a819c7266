"""From a chunk's plain bytes to the payload that will be stored.

Owns making guesses of claims, the bound on chains, and the proof that a computed guess decodes to
the very bytes. Must not know tensors' records, nor sessions.

A form is at most `DEPTH` deep, so that any chunk is read in a few steps; where a chain is full, its
root is the base of the next one.
"""

from collections.abc import Sequence

from theta_store.chunks import Chain, Chunks, Needs
from theta_store.derivations.base import Claim
from theta_store.dtypes import DType
from theta_store.errors import IntegrityError
from theta_store.forms import Form, Need
from theta_store.ids import ChunkId
from theta_store.kernels import concatenate, is_same
from theta_store.payloads import Payload
from theta_store.predictors import SAME
from theta_store.scratch import Scratch
from theta_store.selector import (
    Candidate,
    EncodedForm,
    Level,
    encode_alone,
    encode_exact,
    encode_guessed,
    is_proved,
)

DEPTH = 4


def pack_alone(
    id_: ChunkId, plain: memoryview, *, dtype: DType | None, scratch: Scratch
) -> Payload:
    """Return a chunk's payload without a guess; ``dtype`` is None for the bytes of a blob."""
    return _payload(id_, len(plain), encode_alone(plain, dtype=dtype, scratch=scratch), 0)


def pack(
    id_: ChunkId,
    plain: memoryview,
    claims: Sequence[Claim],
    chunks: Chunks,
    *,
    dtype: DType,
    level: Level = "fast",
    scratch: Scratch,
) -> Payload | None:
    """Return the smallest payload with a guess; None when the chunk had better stand alone."""
    try:
        chain = chunks.chain(needs=[need for claim in claims for need in claim.needs])
        reading = Needs(chunks, chain, scratch, verify=True)
        wanted = (*claims, *_from_further_back(claims, chain))
        candidates, is_exact = _candidates(wanted, id_, plain, reading)
    except IntegrityError:
        # A base that is damaged or gone must not keep anybody from storing what he has.
        return None
    if is_exact:
        # That the guess is the very bytes is the proof.
        made = encode_exact(plain, candidates[0], dtype=dtype)
        return _payload(id_, len(plain), made, 1 + chain.depth(made.needs))
    while candidates:
        form = encode_guessed(plain, candidates, reading, dtype=dtype, level=level, scratch=scratch)
        if form is None:
            return None
        if not form.computed or is_proved(form, plain, scratch):
            return _payload(id_, len(plain), form, 1 + chain.depth(form.needs))
        candidates = [
            c for c in candidates if (c.predictor, c.params) != (form.predictor, form.params)
        ]
    return None


def _candidates(
    claims: Sequence[Claim], id_: ChunkId, plain: memoryview, reading: Needs
) -> tuple[list[Candidate], bool]:
    """Return the guesses that may be used; one that is the very bytes, if so, is the only one."""
    found = []
    for claim in claims:
        candidate = _candidate(claim, id_, len(plain), reading)
        if candidate is None:
            continue
        if is_same(candidate.plain, plain):
            return [candidate], True
        found.append(candidate)
    return found, False


def _from_further_back(claims: Sequence[Claim], chain: Chain) -> list[Claim]:
    """Return the bases of bases: an update may have been taken back, another one made instead.

    Reading the base has read them anyway. Not where the base is a delta: the next step of a run
    would stay with an ever older base instead of making a new one once in a while.
    """
    found = []
    for claim in claims:
        if claim.predictor == SAME:
            form = chain.forms[ChunkId(claim.needs[0].id)]
            below = next((n for n in form.needs if n.kind == "chunk"), None)
            if (
                below is not None
                and form.predictor != SAME
                and chain.plain_bytes(below) == form.plain
            ):
                found.append(Claim(SAME, b"", (Need("chunk", below.id, 0, form.plain),)))
    return found


def _candidate(claim: Claim, id_: ChunkId, size: int, reading: Needs) -> Candidate | None:
    chain = reading.chain
    if claim.predictor == SAME:
        return _same(claim, id_, size, reading)
    if chain.depth(claim.needs) >= DEPTH or chain.needs(claim.needs, id_):
        return None
    plain = reading.guess(claim, size)
    return Candidate(claim.predictor, claim.params, claim.needs, plain, claim.computed, None)


def _same(claim: Claim, id_: ChunkId, size: int, reading: Needs) -> Candidate | None:
    chain = reading.chain
    base = ChunkId(claim.needs[0].id)
    root = chain.root_of(base)
    if chain.depth(claim.needs) >= DEPTH:
        base = root
    need = Need("chunk", base, 0, size)
    if chain.depth([need]) >= DEPTH or chain.needs([need], id_):
        return None
    return Candidate(SAME, b"", (need,), reading.chunk(base), key=root)


def _payload(id_: ChunkId, size: int, made: EncodedForm, depth: int) -> Payload:
    form = Form(
        volume=0,
        predictor=made.predictor,
        codec=made.codec,
        version=made.version,
        width=made.width,
        plain=size,
        stored=len(made.payload),
        depth=depth,
        needs=made.needs,
        born=0,
    )
    return Payload(id_, form, _owned(made.payload))


def _owned(payload: bytes | memoryview) -> bytes:
    """Return bytes that do not live in scratch."""
    return payload if isinstance(payload, bytes) else concatenate([payload])
