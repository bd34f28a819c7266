"""Stored forms of the past stay readable: each golden one decodes to the bytes of its id."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.store.golden_forms import FOLDER, cases
from tests.store.test_forms_round_trip import Memory
from theta_store.codecs import RESIDUAL, exact
from theta_store.forms import decode_form
from theta_store.ids import chunk_id
from theta_store.prediction import predict
from theta_store.predictors import PIECES
from theta_store.scratch import Scratch
from theta_store.selector import decode_residual

FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_forms_decode(path: Path) -> None:
    golden = json.loads(path.read_text())
    plain = {bytes.fromhex(i): bytes.fromhex(data) for i, data in golden["needs"].items()}
    memory = Memory({i: np.frombuffer(data, np.uint8) for i, data in plain.items()})
    assert all(chunk_id(data) == i for i, data in plain.items())
    form = decode_form(bytes.fromhex(golden["row"]))
    payload = bytes.fromhex(golden["payload"])
    assert (form.stored, form.depth) == (len(payload), 1)
    out = bytearray(form.plain)
    if form.has_payload:
        decode_residual(form, memoryview(payload), memory, memoryview(out), Scratch())
    else:
        assert (form.predictor, form.codec, form.version) == (PIECES, exact.NUMBER, exact.VERSION)
        out[:] = predict(form.predictor, b"", form.needs, form.plain, memory).data
    assert chunk_id(out).hex() == golden["id"]


def test_every_predictor_and_codec_has_one() -> None:
    wanted = {f"{name}-{codec.id}" for codec in RESIDUAL for name, _, _ in cases(Memory())}
    assert {path.stem for path in FILES} >= wanted | {"pieces-exact"}
