"""``low-rank`` gives the same bits in any order, part and number of threads."""

import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.predictors.adapters import merged, residual_bits
from tests.store.predictors.exact import NAMES, codes, codes_of, is_nan, plain_of, rounded, value
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError
from theta_store.predictors import low_rank
from theta_store.predictors.head import decode_head, encode_head

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden" / "predictors" / "low_rank.json"
factor_elements = st.one_of(
    st.floats(-2, 2, width=32),
    st.sampled_from([0.0, -0.0, 2.0**-149, 2.0**127, -(2.0**127), 2.0**-126, 1 + 2.0**-23]),
)


def _on_grid(line: list[float], bits: int) -> list[Fraction]:
    largest = max(map(abs, line))
    step = Fraction(2) ** (math.frexp(largest)[1] - bits)
    return [round(Fraction(element) / step) * step for element in line]


def _wanted(code: int, product: Fraction, name: str, formula: int) -> int | None:
    """Return the code that exact arithmetic gives; None where it is zero or not finite."""
    base, compute = value(code, name), "F64" if name == "F64" else "F32"
    if base is None:
        return None
    if formula == low_rank.PRODUCT_FIRST:
        added = value(rounded(product, name), name)
        total = None if added is None else value(rounded(base + added, compute), compute)
    else:
        total = value(rounded(base + product, "F64"), "F64")
    return rounded(total, name) if total else None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("formula", low_rank.FORMULAS)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), rank=st.integers(1, 4), columns=st.integers(1, 3))
def test_a_guess_is_the_exact_one(
    name: str, formula: int, data: st.DataObject, rank: int, columns: int
) -> None:
    row, found = DTYPES[name], data.draw(codes(name, 12))
    rows = len(found) // columns
    found = found[: rows * columns]
    lines = st.lists(factor_elements, min_size=rank, max_size=rank)
    left = data.draw(st.lists(lines, min_size=rows, max_size=rows))
    right = data.draw(st.lists(lines, min_size=columns, max_size=columns))
    made = low_rank.predict(
        plain_of(found, row),
        np.array(left, np.float32).reshape(rows, rank),
        np.array(right, np.float32).T,
        row,
        formula,
        columns,
    )
    bits = low_rank.bits_for(rank)
    for place, (code, result) in enumerate(zip(found, codes_of(made, row), strict=True)):
        thin = _on_grid(left[place // columns], bits)
        wide = _on_grid(right[place % columns], bits)
        product = sum((a * b for a, b in zip(thin, wide, strict=True)), Fraction(0))
        wanted = _wanted(code, product, name, formula)
        if is_nan(result, name) or (wanted is not None and is_nan(wanted, name)):
            assert result == code
        elif wanted is not None:
            assert result == wanted


@given(rank=st.integers(1, low_rank.MOST_RANK))
def test_the_grid_keeps_every_sum_exact(rank: int) -> None:
    bits = low_rank.bits_for(rank)
    assert rank * 2 ** (2 * bits) <= 2**53 < rank * 2 ** (2 * (bits + 1))


def test_a_sum_at_the_limit_is_exact() -> None:
    rank = 512
    left = np.full((3, rank), 2 - 2.0**-21, np.float32)
    left[1, ::2] *= -1
    left[2, 0] *= -1
    right = np.full((rank, 2), 2 - 2.0**-21, np.float32)
    base = np.zeros(3 * 2 * 8, np.uint8)
    made = low_rank.predict(base, left, right, DTYPES["F64"], 1, 2).view("<f8").reshape(3, 2)
    square = Fraction(2**22 - 1) ** 2 / 2**42
    assert [Fraction(float(x)) for x in made[:, 0]] == [square * 512, 0, square * 510]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 99),
    rank=st.sampled_from([1, 3, 8, 64]),
    columns=st.sampled_from([1, 7, 300, 40_000]),
    name=st.sampled_from(["F32", "BF16", "F16"]),
    formula=st.sampled_from(low_rank.FORMULAS),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_part_is_the_part_of_the_whole_and_so_is_the_exact_one(
    seed: int, rank: int, columns: int, name: str, formula: int, ends: tuple[float, float]
) -> None:
    row, random = DTYPES[name], np.random.default_rng(seed)
    rows = max(2, min(50, 60_000 // columns))
    base = random.integers(0, 256, rows * columns * row.nbytes, np.uint8)
    left = random.standard_normal((rows, rank)).astype(np.float32)
    right = random.standard_normal((rank, columns)).astype(np.float32) * np.float32(1e-3)
    whole = low_rank.predict(base, left, right, row, formula, columns)
    assert np.array_equal(
        whole, low_rank.predict(base, left, right, row, formula, columns, exact=True)
    )
    start, stop = sorted(int(end * rows * columns) for end in ends)
    head = low_rank.Head(formula, name, rank, low_rank.bits_for(rank), columns, start)
    first, last = low_rank.rows_range(head, stop - start)
    wanted = slice(start * row.nbytes, stop * row.nbytes)
    for exact in (False, True):
        part = low_rank.predict(
            base[wanted], left[first:last], right, row, formula, columns, start=start, exact=exact
        )
        assert np.array_equal(part, whole[wanted])


def test_the_sum_is_rounded_once_and_the_product_first_where_the_formula_says_so() -> None:
    # 1 + 2^-8 is the middle of two bfloat16: what is above it must not be lost on the way.
    base = plain_of([0x3F80], DTYPES["BF16"])
    left = np.array([[1, 2**-16]], np.float32)
    right = np.array([[2**-8], [2**-24]], np.float32)
    sums = [low_rank.predict(base, left, right, DTYPES["BF16"], f, 1) for f in low_rank.FORMULAS]
    assert [codes_of(made, DTYPES["BF16"]) for made in sums] == [[0x3F81], [0x3F80]]


@pytest.mark.parametrize("formula", low_rank.FORMULAS)
def test_what_is_no_number_keeps_its_bits(formula: int) -> None:
    row = DTYPES["F32"]
    base = plain_of([0x7FA00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001], row)
    left, zero = np.ones((3, 1), np.float32), np.zeros((1, 2), np.float32)
    assert np.array_equal(low_rank.predict(base, left, zero, row, formula, 2)[:16], base[:16])
    # A zero, or a subnormal number, plus a product of nothing keeps its value.
    made = low_rank.predict(base, left, zero, row, formula, 2).view("<f4")[4:]
    assert made.tolist() == [0.0, 2.0**-149]


def test_factors_that_do_not_fit_are_damage() -> None:
    row, base = DTYPES["F32"], np.zeros(24, np.uint8)
    left, right = np.ones((2, 2), np.float32), np.ones((2, 3), np.float32)
    low_rank.predict(base, left, right, row, 1, 3)
    infinite = right * np.float32(np.inf)
    for bad in (
        lambda: low_rank.predict(base, left[:1], right, row, 1, 3),
        lambda: low_rank.predict(base, left, right[:, :2], row, 1, 3),
        lambda: low_rank.predict(base, left, right[:1], row, 1, 3),
        lambda: low_rank.predict(base, left[:, :0], right[:0], row, 1, 3),
        lambda: low_rank.predict(base, left, infinite, row, 1, 3),
        lambda: low_rank.predict(base, left, right, row, 1, 3, bits=27),
        lambda: low_rank.predict(base[:23], left, right, row, 1, 3),
    ):
        with pytest.raises(IntegrityError):
            bad()


# What other machines differ in: threads, the kernels of OpenBLAS, the vector units numpy uses.
MACHINES: dict[str, dict[str, str]] = {
    "one thread": {"OPENBLAS_NUM_THREADS": "1"},
    "two threads": {"OPENBLAS_NUM_THREADS": "2"},
    "without FMA": {"OPENBLAS_CORETYPE": "Nehalem"},
    "with FMA": {"OPENBLAS_CORETYPE": "Haswell"},
    "no vector units": {
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name
            for name in np._core._multiarray_umath.__cpu_dispatch__
            if np._core._multiarray_umath.__cpu_features__[name]
        )
    },
}


def test_all_predictors_give_the_same_bits_on_other_machines() -> None:
    said = {
        name: subprocess.run(
            [sys.executable, "-m", "tests.store.predictors.digest"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name, environment in MACHINES.items()
    }
    assert len(said["one thread"].splitlines()) == 5
    assert set(said.values()) == {said["one thread"]}


@pytest.mark.parametrize(
    ("name", "shape", "product_first", "most"),
    [
        ("F32", (384, 512), True, 1.5),
        ("F32", (384, 512), False, 1.5),
        ("BF16", (384, 512), True, 1.0),
        ("BF16", (384, 512), False, 1.0),
        ("F16", (512, 384), True, 1.0),
    ],
)
def test_a_merged_adapter_is_found_and_leaves_almost_nothing(
    name: str, shape: tuple[int, int], product_first: bool, most: float
) -> None:
    update = merged(name, shape, product_first=product_first)
    noise = low_rank.noise_level(update.difference, update.row)
    rank = low_rank.looks_low_rank(update.sample(), noise)
    assert rank is not None
    factors = low_rank.factorise(
        update.difference, rank, noise=noise, bits=low_rank.bits_worth(update.row)
    )
    assert factors is not None
    assert factors[0].shape == (shape[0], 8)
    size = 64 * shape[1] * update.row.nbytes
    formula = low_rank.best_formula(
        update.base[:size], update.new[:size], factors[0][:64], factors[1], update.row
    )
    if name != "F32":
        assert formula == (low_rank.PRODUCT_FIRST if product_first else low_rank.SUM_FIRST)
    guess = low_rank.predict(update.base, *factors, update.row, formula, shape[1])
    assert residual_bits(guess, update.new, update.row) < most
    assert residual_bits(update.base, update.new, update.row) > 7


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
@pytest.mark.parametrize("exact", [False, True])
def test_golden_guesses_never_change(case: dict[str, str], exact: bool) -> None:
    head = decode_head(low_rank.Head, bytes.fromhex(case["head"]))
    assert encode_head(head).hex() == case["head"]
    base = np.frombuffer(bytes.fromhex(case["base"]), np.uint8)
    left, right = (np.frombuffer(bytes.fromhex(case[side]), "<f4") for side in ("left", "right"))
    made = low_rank.predict(
        base,
        left.reshape(-1, head.rank),
        right.reshape(head.rank, head.columns),
        DTYPES[head.dtype],
        head.formula,
        head.columns,
        start=head.start,
        bits=head.bits,
        exact=exact,
    )
    assert made.tobytes().hex() == case["out"]
