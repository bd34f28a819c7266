"""``cast`` gives the bits of a conversion, in any part of a tensor."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.predictors.exact import NAMES, WIDE, codes, codes_of, is_nan, plain_of, strange
from theta_store.arithmetic import nan_places
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError
from theta_store.predictors import cast
from theta_store.predictors.head import decode_head, encode_head

GOLDEN = Path(__file__).parents[2] / "golden" / "predictors" / "cast.json"
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b]
TORCH = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


@pytest.mark.parametrize(("base", "target"), [(a, b) for a in WIDE for b in WIDE if a != b])
def test_a_cast_is_that_of_torch(base: str, target: str) -> None:
    if base == "F64" and target in {"F16", "BF16"}:
        pytest.skip("torch rounds twice, over float32")
    row = DTYPES[base]
    random = np.random.default_rng(3)
    plain = np.concatenate(
        [
            plain_of(strange(base), row),
            random.integers(0, 256, 20_000 * row.nbytes, np.uint8),
            (random.standard_normal(5000) * 0.02).astype("<f8").view(np.uint8)
            if base == "F64"
            else np.empty(0, np.uint8),
        ]
    )
    whole = torch.from_numpy(plain.view(f"<i{row.nbytes}").copy()).view(TORCH[base])
    wide = DTYPES[target].nbytes
    wanted = whole.to(TORCH[target]).view(INTEGERS[wide]).numpy().view(f"<u{wide}")
    made = cast.predict(plain, row, DTYPES[target]).view(f"<u{wide}")
    known = np.ones(len(made), bool)
    known[nan_places(plain, row)] = False
    assert known.sum() > 15_000
    assert np.array_equal(made[known], wanted[known])


@pytest.mark.parametrize(("base", "target"), PAIRS)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_any_part_is_the_part_of_the_whole(base: str, target: str, data: st.DataObject) -> None:
    from_, to = DTYPES[base], DTYPES[target]
    given_codes = data.draw(codes(base))
    plain = plain_of(given_codes, from_)
    whole = cast.predict(plain.data, from_, to)
    assert len(whole) == len(given_codes) * to.nbytes
    start = data.draw(st.integers(0, len(given_codes))) * to.nbytes
    stop = data.draw(st.integers(start // to.nbytes, len(given_codes))) * to.nbytes
    left, right = cast.base_range(start, stop, from_, to)
    assert np.array_equal(cast.predict(plain[left:right], from_, to), whole[start:stop])
    for code, result in zip(given_codes, codes_of(whole, to), strict=True):
        assert not is_nan(code, base) or is_nan(result, target)


def test_blocks_leave_no_seam() -> None:
    plain = np.random.default_rng(1).integers(0, 256, 4 * 100_001, np.uint8)
    whole = cast.predict(plain, DTYPES["F32"], DTYPES["BF16"])
    parts = [cast.predict(plain[at : at + 4 * 777], DTYPES["F32"], DTYPES["BF16"])
             for at in range(0, len(plain), 4 * 777)]  # fmt: skip
    assert np.array_equal(whole, np.concatenate(parts))


def test_part_of_an_element_is_damage() -> None:
    with pytest.raises(IntegrityError, match="whole elements"):
        cast.predict(np.zeros(6, np.uint8), DTYPES["F32"], DTYPES["BF16"])


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_golden_casts_never_change(case: dict[str, str]) -> None:
    head = decode_head(cast.Head, bytes.fromhex(case["head"]))
    assert encode_head(head).hex() == case["head"]
    made = cast.predict(
        np.frombuffer(bytes.fromhex(case["base"]), np.uint8), DTYPES[head.base], DTYPES[head.dtype]
    )
    assert made.tobytes().hex() == case["out"]
