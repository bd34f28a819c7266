"""``rescale`` gives the bits of its formula in any part, and finds the factors that were used."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.predictors.exact import NAMES, codes, codes_of, is_nan, plain_of, rounded, value
from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import DTYPES
from theta_store.errors import IntegrityError
from theta_store.predictors import rescale
from theta_store.predictors.head import decode_head, encode_head

GOLDEN = Path(__file__).parents[2] / "golden" / "predictors" / "rescale.json"
AXES = [rescale.ONE, rescale.BY_ROW, rescale.BY_COLUMN]


def _length(axis: int, rows: int, columns: int) -> int:
    return {rescale.ONE: 1, rescale.BY_ROW: rows, rescale.BY_COLUMN: columns}[axis]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", AXES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_product_is_the_exact_one(name: str, axis: int, data: st.DataObject) -> None:
    row, compute = DTYPES[name], "F64" if name == "F64" else "F32"
    columns = data.draw(st.integers(1, 5))
    found = data.draw(codes(name))
    found = found[: len(found) // columns * columns]
    factors = data.draw(st.lists(st.floats(-2, 2, width=32), min_size=40, max_size=40))[
        : _length(axis, len(found) // columns or 1, columns)
    ]
    vector = np.array(factors, "f8" if name == "F64" else "f4")
    made = codes_of(rescale.predict(plain_of(found, row), vector, axis, row, columns), row)
    for place, (code, result) in enumerate(zip(found, made, strict=True)):
        line = {-1: 0, 0: place // columns, 1: place % columns}[axis]
        number = value(code, name)
        if is_nan(result, name):
            assert result == code
        elif number and factors[line]:
            product = value(rounded(number * Fraction(factors[line]), compute), compute)
            wanted = rounded(product, name) if product else result
            assert result == (code if is_nan(wanted, name) else wanted)


@pytest.mark.parametrize("axis", AXES)
@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 9),
    columns=st.sampled_from([1, 2, 5, 40_000]),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_part_is_the_part_of_the_whole(
    axis: int, rows: int, columns: int, ends: tuple[float, float]
) -> None:
    row, random = DTYPES["BF16"], np.random.default_rng(rows)
    count = rows * columns
    base = random.integers(0, 256, count * 2, np.uint8)
    vector = random.standard_normal(_length(axis, rows, columns)).astype(np.float32)
    whole = rescale.predict(base, vector, axis, row, columns)
    start, stop = sorted(int(end * count) for end in ends)
    head = rescale.Head(1, "BF16", axis, columns, start)
    first, last = rescale.vector_range(head, stop - start)
    part = rescale.predict(
        base[start * 2 : stop * 2], vector[first:last], axis, row, columns, start=start
    )
    assert np.array_equal(part, whole[start * 2 : stop * 2])


def _folded(name: str, axis: int, rows: int = 120, columns: int = 96) -> tuple[np.ndarray, ...]:
    """Return base, new and factors of a matrix that learned factors were folded into."""
    random = np.random.default_rng(7)
    kind = "f8" if name == "F64" else "f4"
    scale = 1 if DTYPES[name].nbytes == 1 else 0.02
    row = DTYPES[name]
    base = widen(narrow((random.standard_normal(rows * columns) * scale).astype(kind), row), row)
    base = base.reshape(rows, columns).copy()
    factors = (1 + 0.1 * random.standard_normal(_length(axis, rows, columns))).astype(kind)
    product = base * (factors[:, None] if axis == rescale.BY_ROW else factors)
    new = widen(narrow(product.reshape(-1), row), row).reshape(rows, columns)
    return base, new, factors


@pytest.mark.parametrize("name", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize("axis", AXES)
def test_folded_factors_are_found_and_reproduced(name: str, axis: int) -> None:
    row = DTYPES[name]
    base, new, factors = _folded(name, axis)
    found = rescale.discover(base[:32], new[:32], row)
    assert found is not None
    assert found[0] == axis
    fit = rescale.Fit(axis, row)
    for at in range(0, len(base), 50):
        fit.feed(base[at : at + 50], new[at : at + 50])
    vector = fit.finish()
    assert len(vector) == len(factors)
    made = rescale.predict(narrow(base.reshape(-1), row), vector, axis, row, base.shape[1])
    wanted = narrow(new.reshape(-1), row)
    kind = f"<u{row.nbytes}"
    assert np.mean(made.view(kind) == wanted.view(kind)) > 0.999
    if name in {"F64", "F32"}:
        assert np.array_equal(vector, factors)


def test_outliers_do_not_spoil_the_others() -> None:
    base, new, factors = _folded("F32", rescale.BY_COLUMN)
    new = new.copy()
    new.reshape(-1)[::37] *= 1.5
    new[0] = 0
    new[1] = np.nan
    fit = rescale.Fit(rescale.BY_COLUMN, DTYPES["F32"])
    fit.feed(base, new)
    assert np.array_equal(fit.finish(), factors)


def test_outliers_in_later_blocks_do_not_either() -> None:
    row = DTYPES["BF16"]
    base, new, _ = _folded("BF16", rescale.BY_COLUMN, rows=3000, columns=16)
    wrong = np.random.default_rng(0).random(base.shape) < 0.02
    new = np.where(wrong, new * np.float32(1.25), new)
    fit = rescale.Fit(rescale.BY_COLUMN, row)
    for at in range(0, len(base), 60):
        fit.feed(base[at : at + 60], new[at : at + 60])
    made = rescale.predict(narrow(base.reshape(-1), row), fit.finish(), rescale.BY_COLUMN, row, 16)
    exact = made.view("<u2") == narrow(new.reshape(-1), row).view("<u2")
    assert np.mean(exact[~wrong.reshape(-1)]) > 0.9999


def test_columns_that_say_nothing_get_one() -> None:
    base, new, _ = _folded("F32", rescale.BY_COLUMN)
    base[:, 3], new[:, 3] = 0, 0
    new[:, 4] = base[:, 4]
    fit = rescale.Fit(rescale.BY_COLUMN, DTYPES["F32"])
    fit.feed(base, new)
    assert fit.finish()[[3, 4]].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["F32", "BF16"])
def test_other_updates_are_not_rescaled(name: str) -> None:
    row, random = DTYPES[name], np.random.default_rng(1)
    base, _, _ = _folded(name, rescale.BY_ROW)

    def after(change: np.ndarray) -> np.ndarray:
        plain = narrow((base + change).astype(np.float32).reshape(-1), row)
        return widen(plain, row).reshape(base.shape)

    dense = after(random.standard_normal(base.shape) * 1e-3)
    few = after(np.where(random.random(base.shape) < 0.01, 0.01, 0))
    rows = after(np.where(np.arange(len(base)) < 9, 0.01, 0)[:, None] * np.ones(base.shape[1]))
    for new in (base, dense, few, rows):
        assert rescale.discover(base, new, row) is None
    found = rescale.discover(base[:1], base[:1] * np.float32(2), row)
    assert found is not None
    assert (found[0], found[1].tolist()) == (rescale.ONE, [2])
    assert rescale.discover(base[:4, :1], dense[:4, :1], row) is None


def test_a_vector_that_is_too_short_is_damage() -> None:
    base = np.zeros(6 * 4, np.uint8)
    for axis in AXES:
        wanted = _length(axis, 2, 3)
        rescale.predict(base, np.ones(wanted, np.float32), axis, DTYPES["F32"], 3)
        with pytest.raises(IntegrityError):
            rescale.predict(base, np.ones(wanted - 1, np.float32), axis, DTYPES["F32"], 3)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_golden_products_never_change(case: dict[str, str]) -> None:
    head = decode_head(rescale.Head, bytes.fromhex(case["head"]))
    assert encode_head(head).hex() == case["head"]
    row = DTYPES[head.dtype]
    base = np.frombuffer(bytes.fromhex(case["base"]), np.uint8)
    vector = np.frombuffer(bytes.fromhex(case["vector"]), "<f8" if row.name == "F64" else "<f4")
    made = rescale.predict(base, vector, head.axis, row, head.columns, start=head.start)
    assert made.tobytes().hex() == case["out"]
