"""Distances: laws over every dtype, exact counts, and numbers at the edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.leaves import floats, leaf
from theta.examination import Leaf, measure, pairs
from theta.measure import Distance, distance
from theta.pairs import Pair, is_measurable
from theta_store.dtypes import DTYPES, dtype

TWO_ZEROS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
WHOLE = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")
kinds = st.sampled_from(sorted(DTYPES))


@st.composite
def two_tensors(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Two tensors of any dtype, of any bits."""
    kind = draw(kinds)
    size = draw(st.integers(1, 12)) * dtype(kind).nbytes
    return (
        kind,
        draw(st.binary(min_size=size, max_size=size)),
        draw(st.binary(min_size=size, max_size=size)),
    )


def _pair(kind: str, old: bytes, new: bytes, start: int = 0) -> Pair:
    return Pair(start, old, new, dtype(kind), dtype(kind))


def _measured(old: Leaf, new: Leaf) -> Distance:
    found = measure(old, new)
    assert found is not None
    return found


@given(two_tensors())
def test_a_tensor_is_at_no_distance_from_itself(given_: tuple[str, bytes, bytes]) -> None:
    kind, data, _ = given_
    for new in (data, bytes(bytearray(data))):
        found = distance([_pair(kind, data, new)])
        assert found.changed == found.lost == 0
        assert found.equal
        if is_measurable(dtype(kind)):
            assert (found.norm, found.relative, found.max_abs) == (0.0, 0.0, 0.0)
            assert found.cosine is None or found.cosine == pytest.approx(1.0)


@given(two_tensors())
def test_the_way_back_is_as_long(given_: tuple[str, bytes, bytes]) -> None:
    kind, old, new = given_
    there, back = distance([_pair(kind, old, new)]), distance([_pair(kind, new, old)])
    assert (there.norm, there.max_abs) == (back.norm, back.max_abs)
    assert (there.changed, there.lost, there.equal) == (back.changed, back.lost, back.equal)
    assert there.cosine == back.cosine or there.cosine == pytest.approx(back.cosine, nan_ok=True)


@given(two_tensors(), st.data())
def test_pairs_may_be_cut_anywhere(given_: tuple[str, bytes, bytes], data: st.DataObject) -> None:
    kind, old, new = given_
    width = dtype(kind).nbytes
    at = data.draw(st.integers(0, len(old) // width)) * width
    whole = distance([_pair(kind, old, new)])
    cut = distance([_pair(kind, old[:at], new[:at]), _pair(kind, old[at:], new[at:])])
    assert (cut.changed, cut.lost, cut.nan, cut.inf) == (
        whole.changed,
        whole.lost,
        whole.nan,
        whole.inf,
    )
    assert cut.equal == whole.equal
    if whole.norm is not None:
        assert cut.norm == pytest.approx(whole.norm, nan_ok=True)
        assert cut.max_abs == whole.max_abs


@given(
    st.lists(st.tuples(*[st.floats(-(2**90), 2**90, width=32)] * 2), min_size=1, max_size=20).map(
        np.array
    )
)
def test_measures_are_those_of_the_textbook(values: np.ndarray) -> None:
    old, new = values.T.astype("<f4")
    found = distance([_pair("F32", old.tobytes(), new.tobytes())])
    exact_old, exact_new = old.astype(np.float64), new.astype(np.float64)
    norm = float(np.linalg.norm(exact_new - exact_old))
    assert found.norm == pytest.approx(norm)
    assert found.max_abs == np.abs(exact_new - exact_old).max()
    size = float(np.linalg.norm(exact_old))
    assert found.relative == pytest.approx(norm / size if size else (math.inf if norm else 0.0))
    # -0.0 and 0.0 have other bits.
    assert found.changed == (old.view("<u4") != new.view("<u4")).mean()
    assert found.equal == bool((old == new).all())


@pytest.mark.parametrize("kind", TWO_ZEROS)
def test_signs_of_zero_are_bits_and_no_values(kind: str) -> None:
    zeros = floats(np.zeros(6), kind)
    found = _measured(zeros, floats(-np.zeros(6), kind))
    assert (found.norm, found.relative, found.cosine) == (0.0, 0.0, None)
    assert found.changed == 1.0
    assert found.equal
    assert not found.lost


def test_payloads_of_nan_are_bits_and_no_values() -> None:
    old = np.array([1, 2, np.nan], "<f4")
    new = old.copy()
    new.view("<u4")[2] += 1
    found = distance([_pair("F32", old.tobytes(), new.tobytes())])
    assert (found.norm, found.changed, found.nan) == (0.0, pytest.approx(1 / 3), 1)
    assert found.equal
    assert not found.lost


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_what_is_not_finite_is_counted_and_left_out(kind: str) -> None:
    old = floats(np.array([1.0, 2.0, 3.0, np.inf, np.nan, 4.0]), kind)
    new = floats(np.array([1.0, np.nan, np.inf, np.inf, np.nan, 5.0]), kind)
    found = _measured(old, new)
    assert (found.nan, found.inf, found.lost) == (2, 2, 2)
    assert found.norm == found.max_abs == 1.0
    assert found.relative == pytest.approx(1 / math.sqrt(17))
    assert not found.equal


def test_equal_chunks_count_with_their_numbers() -> None:
    old = np.ones((3, 1 << 18), "<f4")
    old[0, 0], old[0, 1] = np.nan, np.inf
    new = old.copy()
    new[2, 5] = 3
    found = _measured(floats(old), floats(new))
    assert [pair.same for pair in pairs(floats(old), floats(new))] == [True, True, False]
    assert (found.nan, found.inf, found.lost) == (1, 1, 0)
    assert found.relative == pytest.approx(2 / math.sqrt(old.size - 2))
    assert found.changed == 1 / old.size


def test_equal_chunks_are_read_once() -> None:
    reads = []
    old = np.ones((3, 1 << 18), "<f4")
    new = old.copy()
    new[2, 5] = 3
    left, right = floats(old), floats(new)

    def read(start: int, out: memoryview) -> None:
        reads.append(start)
        right.read(start, out)

    _measured(left, Leaf(right.tensor, read))
    assert reads == [2 << 20]


@pytest.mark.parametrize("kind", ["I64", "U64"])
def test_whole_numbers_of_64_bits_are_subtracted_exactly(kind: str) -> None:
    old = np.array([2**62, 2**62 + 1, 5, 0], dtype(kind).carrier)
    new = np.array([2**62 + 1, 2**62, 5, 2**63 - 1], dtype(kind).carrier)
    found = distance([_pair(kind, old.tobytes(), new.tobytes())])
    assert found.max_abs == 2.0**63
    assert found.changed == 0.75
    assert not found.equal
    one = distance([_pair(kind, old[:2].tobytes(), new[:2].tobytes())])
    assert (one.norm, one.max_abs) == (math.sqrt(2), 1.0)
    assert not one.equal


def test_the_whole_range_of_signed_numbers() -> None:
    low, high = (np.array([v], "<i8").tobytes() for v in (-(2**63), 2**63 - 1))
    assert distance([_pair("I64", low, high)]).max_abs == 2.0**64


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers(kind: str) -> None:
    found = _measured(
        leaf(kind, (3,), np.array([1, 2, 3], dtype(kind).carrier).tobytes()),
        leaf(kind, (3,), np.array([4, 2, 7], dtype(kind).carrier).tobytes()),
    )
    assert (found.norm, found.max_abs, found.changed) == (5.0, 4.0, pytest.approx(2 / 3))


def test_truth_values_count_as_zero_and_one() -> None:
    found = distance([_pair("BOOL", bytes([0, 1, 2, 1]), bytes([1, 1, 1, 0]))])
    assert (found.norm, found.max_abs) == (math.sqrt(2), 1.0)
    assert found.changed == 0.75, "another byte for true is another bit pattern"


@pytest.mark.parametrize(("kind", "carrier"), [("C32", "<f2"), ("C64", "<f4"), ("C128", "<f8")])
def test_complex_numbers_are_measured_by_their_size(kind: str, carrier: str) -> None:
    old = np.array([[0, 0], [1, 1]], carrier)
    new = np.array([[3, 4], [1, 1]], carrier)
    found = distance([_pair(kind, old.tobytes(), new.tobytes())])
    assert (found.norm, found.max_abs, found.changed) == (5.0, 5.0, 0.5)
    assert found.cosine == pytest.approx(2 / math.sqrt(2 * 27))
    new[0, 0] = np.nan
    found = distance([_pair(kind, old.tobytes(), new.tobytes())])
    assert (found.nan, found.lost, found.norm) == (1, 1, 0.0)


def test_scales_of_microscaling_blocks_are_powers_of_two() -> None:
    found = distance([_pair("F8_E8M0", bytes([127, 129, 255]), bytes([128, 129, 255]))])
    assert (found.norm, found.max_abs, found.nan, found.lost) == (1.0, 1.0, 1, 0)


@pytest.mark.parametrize("kind", ["F4", "I4", "U4"])
def test_elements_of_half_a_byte_are_counted_one_by_one(kind: str) -> None:
    found = distance([_pair(kind, bytes([0x12, 0x34]), bytes([0x12, 0x35]))])
    assert (found.norm, found.relative, found.max_abs, found.cosine) == (None,) * 4
    assert found.changed == 0.25
    assert not found.equal


def test_quantised_blocks_are_counted_whole() -> None:
    old = bytes(18 * 4)
    new = bytes([1, 1, *old[2:36], 1, *old[37:]])
    assert distance([_pair("GGML_Q4_0", old, new)]).changed == 0.5


def test_dtypes_are_measured_after_exact_widening() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    single, brain = floats(values), floats(values, "BF16")
    found = _measured(single, brain)
    assert found.relative is not None
    assert 1e-4 < found.relative < 4e-3
    wide = floats(np.array([1.5, -2.0]))
    assert _measured(wide, floats(np.array([1.5, -2.0]), "BF16")) == Distance(
        0.0, 0.0, 0.0, pytest.approx(1.0), 0.0, 0, 0, 0, True
    )
    whole = leaf("I32", (2,), np.array([1, 4], "<i4").tobytes())
    assert _measured(whole, floats(np.array([1.0, 1.0]))).max_abs == 3.0


@given(st.integers(1, 5), st.integers(1, 40), st.sampled_from(["BF16", "F16", "F64", "F8_E5M2"]))
def test_pairs_of_two_dtypes_meet_element_by_element(rows: int, columns: int, kind: str) -> None:
    values = np.arange(rows * columns, dtype=np.float64).reshape(rows, columns) % 4
    found = list(pairs(floats(values), floats(values, kind)))
    assert np.array_equal(np.concatenate([p.left for p in found]), values.ravel())
    assert np.array_equal(np.concatenate([p.right for p in found]), values.ravel())
    assert [p.start for p in found] == list(np.cumsum([0, *(p.count for p in found)])[:-1])


def test_pairs_of_two_dtypes_over_many_chunks() -> None:
    values = (np.arange(3 * 1000 * 333, dtype=np.float64) % 256).reshape(3000, 333)
    found = list(pairs(floats(values), floats(values, "BF16")))
    assert len(found) > 1
    assert np.array_equal(np.concatenate([p.left for p in found]), values.ravel())
    assert np.array_equal(np.concatenate([p.right for p in found]), values.ravel())


def test_shapes_and_kinds_that_do_not_match_have_no_distance() -> None:
    assert measure(floats(np.zeros(4)), floats(np.zeros(5))) is None
    block = leaf("GGML_Q4_0", (32,), bytes(18))
    assert measure(block, floats(np.zeros(32))) is None
    assert measure(floats(np.zeros((2, 2))), floats(np.zeros(4))) is None
