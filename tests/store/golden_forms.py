"""Whole stored forms, one per predictor and codec; run as a module to add new ones.

A file that exists is never written again: forms stay readable forever. Each holds the row of the
index, the payload, the plain bytes of all that is needed, and the id of the chunk.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.store.test_forms_round_trip import Memory
from theta_store.codecs import RESIDUAL, Guess, exact
from theta_store.dtypes import dtype
from theta_store.forms import Form, Need, encode_form
from theta_store.ids import chunk_id
from theta_store.prediction import head_of, predict
from theta_store.predictors import (
    CAST,
    LOW_RANK,
    PIECES,
    RESCALE,
    ROWS,
    SAME,
    WEIGHTED_SUM,
    cast,
    low_rank,
    rescale,
    rows,
    weighted_sum,
)
from theta_store.predictors.head import encode_head
from theta_store.scratch import Scratch

FOLDER = Path(__file__).parents[1] / "golden" / "forms"
SHAPE = (24, 20)
Made = tuple[int, bytes, tuple[Need, ...]]


def _values(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype("<f4")


def cases(memory: Memory) -> Iterator[tuple[str, str, Made]]:
    """Yield name, dtype and the predictor with its parameters and needs."""
    f32, bf16 = dtype("F32"), dtype("BF16")
    base = memory.add(_values(1, *SHAPE).tobytes())
    other = memory.add(_values(2, *SHAPE).tobytes())
    whole = memory.add(_values(3, 40, 20).tobytes(), "tensor")
    yield "same", "F32", (SAME, b"", (base,))
    runs = rows.runs_of(np.array([*range(3, 20, 2), -1, 7, 7, *range(11, 23)], np.int64))
    low, high = rows.needed_range(runs, 80)
    needed = (Need("tensor", whole.id, low, high),)
    yield "rows", "F32", (ROWS, encode_head(rows.head_of(runs, 80)), needed)
    narrow = memory.add(cast.predict(_values(1, *SHAPE).tobytes(), f32, bf16).tobytes(), "tensor")
    yield "cast-up", "F32", (CAST, encode_head(cast.Head(1, "BF16", "F32")), (narrow,))
    wide = memory.add(_values(4, *SHAPE).tobytes(), "tensor")
    yield "cast-down", "BF16", (CAST, encode_head(cast.Head(1, "F32", "BF16")), (wide,))
    vector = memory.add(_values(5, 20).tobytes())
    scaled = encode_head(rescale.Head(1, "F32", 1, 20, 0))
    yield "rescale", "F32", (RESCALE, scaled, (base, vector))
    factors = tuple(memory.add(_values(i, *s).tobytes()) for i, s in ((6, (24, 2)), (7, (2, 20))))
    for formula in low_rank.FORMULAS:
        head = encode_head(low_rank.Head(formula, "F32", 2, low_rank.bits_for(2), 20, 0))
        yield f"low-rank-{formula}", "F32", (LOW_RANK, head, (base, *factors))
    thirds = encode_head(weighted_sum.Head(1, "F32", (0.25, 0.75)))
    yield "weighted-sum", "F32", (WEIGHTED_SUM, thirds, (base, other))
    pieces = (Need("chunk", base.id, 400, 1000), Need("chunk", other.id, 0, 1320))
    yield "pieces", "F32", (PIECES, b"", pieces)


def make(name: str, kind: str, made: Made, memory: Memory, codec_id: str) -> dict[str, object]:
    """Return one form as it is written down."""
    row, scratch = dtype(kind), Scratch()
    codec = next(codec for codec in RESIDUAL if codec.id == codec_id)
    predictor, params, needs = made
    guess = predict(predictor, params, needs, row.size_of(SHAPE), memory)
    words = guess.copy().view(f"<u{row.width}")
    words[::7] += 3
    words[5::90] ^= 1 << (8 * row.width - 1)
    plain = words.view(np.uint8)
    key = memory.add(plain.tobytes()[::-1]) if codec_id == "sorted" else None
    guessed = Guess(guess, None if key is None else memory.plain[key.id])
    residual = codec.encode(plain.data, guessed, dtype=row, scratch=scratch)
    payload = head_of(params) + residual
    all_needs = needs if key is None else (*needs, key)
    form = Form(
        1,
        predictor,
        codec.number,
        codec.version,
        row.width,
        len(plain),
        len(payload),
        1,
        all_needs,
        7,
    )
    return {
        "name": f"{name} × {codec_id}",
        "id": chunk_id(plain.data).hex(),
        "row": encode_form(form).hex(),
        "payload": payload.hex(),
        "needs": {need.id.hex(): memory.plain[need.id].tobytes().hex() for need in all_needs},
    }


def make_piece(memory: Memory) -> dict[str, object]:
    """Return a piece of a cluster, which has no payload, as it is written down."""
    whole = memory.add(_values(8, 64, 20).tobytes())
    need = Need("chunk", whole.id, 1600, 3200)
    plain = memory.plain[whole.id][1600:3200].tobytes()
    form = Form(0, PIECES, exact.NUMBER, exact.VERSION, 4, 1600, 0, 1, (need,), 7)
    return {
        "name": "pieces × exact",
        "id": chunk_id(plain).hex(),
        "row": encode_form(form).hex(),
        "payload": "",
        "needs": {whole.id.hex(): memory.plain[whole.id].tobytes().hex()},
    }


def main() -> None:
    """Write the forms that have no file yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for codec in RESIDUAL:
        memory = Memory()
        for name, kind, made in cases(memory):
            path = FOLDER / f"{name}-{codec.id}.json"
            if not path.exists():
                form = make(name, kind, made, memory, codec.id)
                path.write_text(json.dumps(form, indent=1) + "\n")
    path = FOLDER / "pieces-exact.json"
    if not path.exists():
        path.write_text(json.dumps(make_piece(Memory()), indent=1) + "\n")


if __name__ == "__main__":
    main()
