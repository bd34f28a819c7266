"""How chunks are kept, added up by predictor and codec: for people who ask where bytes go.

Owns the names of predictors and codecs and the sums. Must not decode anything beyond the parameters
of a form.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from theta_store.db import Reader, Volumes
from theta_store.errors import IntegrityError
from theta_store.forms import Form
from theta_store.ids import ChunkId
from theta_store.objects import find_form, forms, need_chunks
from theta_store.prediction import split_head
from theta_store.predictors import (
    CAST,
    LOW_RANK,
    NONE,
    PIECES,
    RESCALE,
    ROWS,
    SAME,
    WEIGHTED_SUM,
    low_rank,
)
from theta_store.predictors.head import decode_head

PREDICTORS = {
    NONE: "none",
    SAME: "same",
    ROWS: "rows",
    CAST: "cast",
    RESCALE: "rescale",
    LOW_RANK: "low-rank",
    WEIGHTED_SUM: "weighted-sum",
    PIECES: "pieces",
}
CODECS = {0: "raw", 1: "zstd", 2: "planes", 3: "delta", 4: "bitmap", 5: "sorted", 6: "exact"}
_OWN_TENSORS = frozenset({RESCALE, LOW_RANK})


@dataclass(frozen=True, slots=True)
class Kept:
    """Chunks of one predictor and codec; ``depth`` is the deepest, ``rank`` that of low-rank forms.

    ``stored`` bytes include the factors and vectors that were stored for these forms alone, and of
    the clusters that forms without payload are pieces of, their share.
    """

    predictor: str
    codec: str
    chunks: int
    stored: int
    plain: int
    depth: int
    rank: int | None = None


def kept_chunks(reader: Reader, volumes: Volumes, chunks: Iterable[ChunkId]) -> tuple[Kept, ...]:
    """Return how these chunks are kept, the largest part first."""
    found = [(id_, form) for id_ in chunks if (form := find_form(reader, id_)) is not None]
    rank = next((_rank(volumes, i, f) for i, f in found if f.predictor == LOW_RANK), None)
    return _summed(reader, [form for _, form in found], rank)


def kept_in_all(reader: Reader) -> tuple[Kept, ...]:
    """Return how every chunk of the store is kept, the largest part first."""
    found = [form for _, form in forms(reader) if form.has_payload]
    return _summed(reader, found, None, shared=False)


def _summed(
    reader: Reader, found: Iterable[Form], rank: int | None, *, shared: bool = True
) -> tuple[Kept, ...]:
    groups: dict[tuple[int, int], list[Form]] = {}
    for form in found:
        groups.setdefault((form.predictor, form.codec), []).append(form)
    kept = [
        Kept(
            PREDICTORS.get(predictor, str(predictor)),
            CODECS.get(codec, str(codec)),
            len(group),
            sum(f.stored for f in group) + (_own_bytes(reader, group) if shared else 0),
            sum(f.plain for f in group),
            max(f.depth for f in group),
            rank if predictor == LOW_RANK else None,
        )
        for (predictor, codec), group in groups.items()
    ]
    return tuple(sorted(kept, key=lambda part: -part.plain))


def _own_bytes(reader: Reader, group: Sequence[Form]) -> int:
    """Return the stored bytes, beside their own, that were stored for these forms alone."""
    pieces = (form for form in group if not form.has_payload)
    return _factor_bytes(reader, group) + round(sum(_share(reader, form) for form in pieces))


def _share(reader: Reader, piece: Form) -> float:
    """Return what a piece takes of the stored bytes of its clusters."""
    found = ((need, find_form(reader, ChunkId(need.id))) for need in piece.needs)
    return sum(whole.share(need.start, need.stop) for need, whole in found if whole is not None)


def _factor_bytes(reader: Reader, group: Iterable[Form]) -> int:
    chunks = {
        chunk
        for form in group
        if form.predictor in _OWN_TENSORS
        for need in form.needs
        if need.kind == "tensor"
        for chunk in need_chunks(reader, need)
    }
    found = (find_form(reader, chunk) for chunk in chunks)
    return sum(form.stored for form in found if form is not None)


def _rank(volumes: Volumes, id_: ChunkId, form: Form) -> int | None:
    try:
        with volumes.get(form.volume).payload(id_) as payload:
            if payload is None:
                return None
            return decode_head(low_rank.Head, bytes(split_head(payload)[0])).rank
    except IntegrityError:
        return None
