"""``weighted-sum`` gives the bits of its formula, which is that of merges."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.predictors.exact import NAMES, any_code, codes_of, is_nan, plain_of, rounded, value
from theta.strategies.arrays import merge_arrays
from theta.strategies.linear import Average
from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError
from theta_store.predictors import weighted_sum
from theta_store.predictors.head import decode_head, encode_head

pytestmark = pytest.mark.usefixtures("loops")

GOLDEN = Path(__file__).parents[2] / "golden" / "predictors" / "weighted_sum.json"
MODEST = st.floats(-4, 4, allow_nan=False, allow_subnormal=False)


def _wanted(column: tuple[int, ...], coefficients: list[float], name: str) -> int | None:
    """Return the sum's code by exact arithmetic; None where something is not finite or is zero."""
    compute = "F64" if name == "F64" else "F32"
    total: Fraction | None = None
    for code, coefficient in zip(column, coefficients, strict=True):
        number = value(code, name)
        weight = value(rounded(Fraction(coefficient), compute), compute)
        if number is None or weight is None:
            return None
        product = value(rounded(number * weight, compute), compute)
        if product is None:
            return None
        total = product if total is None else value(rounded(total + product, compute), compute)
        if total is None:
            return None
    return rounded(total, name) if total else None


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40)
@given(data=st.data(), coefficients=st.lists(MODEST, min_size=1, max_size=4))
def test_a_sum_is_the_exact_one(name: str, data: st.DataObject, coefficients: list[float]) -> None:
    row = DTYPES[name]
    columns = data.draw(st.lists(st.tuples(*(any_code(name) for _ in coefficients)), max_size=12))
    bases = [plain_of([column[i] for column in columns], row) for i in range(len(coefficients))]
    made = codes_of(weighted_sum.predict(bases, coefficients, row), row)
    for column, result in zip(columns, made, strict=True):
        wanted = _wanted(column, coefficients, name)
        if wanted is not None and not is_nan(wanted, name):
            assert result == wanted
        if is_nan(result, name):
            assert result == column[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sides", [2, 3, 7])
def test_with_equal_weights_it_is_the_merge_strategy(name: str, sides: int) -> None:
    row = DTYPES[name]
    random = np.random.default_rng(sides)
    shape = sides, weighted_sum.BLOCK_ELEMENTS + 7_777
    numbers = random.standard_normal(shape).astype("f8" if name == "F64" else "f4")
    bases = [narrow(side * 0.02, row) for side in numbers]
    kept = [base.copy() for base in bases]
    merged = narrow(merge_arrays(Average(), [widen(base, row) for base in bases]), row)
    made = weighted_sum.predict(bases, [1 / sides] * sides, row)
    assert np.array_equal(made, merged)
    assert all(map(np.array_equal, bases, kept))


def test_a_sum_that_is_no_number_has_the_bits_of_the_first_base() -> None:
    row = DTYPES["F32"]
    first = plain_of([0x7FA00001, 0x7F800000, 0x3F800000], row)
    other = plain_of([0x3F800000, 0xFF800000, 0xFFC00000], row)
    assert np.array_equal(weighted_sum.predict([first, other], [0.5, 0.5], row), first)


def test_bases_that_do_not_fit_are_damage() -> None:
    row, base = DTYPES["F32"], np.zeros(8, np.uint8)
    for bases, coefficients in (
        ([base], [0.5, 0.5]),
        ([], []),
        ([base, base[:4]], [0.5, 0.5]),
        ([base[:6]], [1.0]),
    ):
        with pytest.raises(IntegrityError):
            weighted_sum.predict(bases, coefficients, row)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_golden_sums_never_change(case: dict[str, object]) -> None:
    head = decode_head(weighted_sum.Head, bytes.fromhex(str(case["head"])))
    assert encode_head(head).hex() == case["head"]
    bases = [np.frombuffer(bytes.fromhex(base), np.uint8) for base in list(case["bases"])]
    made = weighted_sum.predict(bases, head.coefficients, DTYPES[head.dtype])
    assert made.tobytes().hex() == case["out"]
