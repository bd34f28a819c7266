"""The order-0 bound on tensors whose entropy is known."""

import numpy as np
import pytest

from benchmarks.storage.contents import Array
from benchmarks.storage.schemes.entropy import against_bits, alone_bits, tensor_bytes


def _array(dtype: str, words: np.ndarray) -> Array:
    return Array(dtype, (words.size,), np.ascontiguousarray(words).view(np.uint8))


def _noise(dtype: str, count: int = 1 << 18) -> np.ndarray:
    kind = np.dtype(dtype)
    return np.random.default_rng(1).integers(0, 1 << 8 * kind.itemsize, count, kind)


@pytest.mark.parametrize(("dtype", "carrier"), [("F32", "<u4"), ("BF16", "<u2"), ("I64", "<u8")])
def test_noise_needs_all_its_bits(dtype: str, carrier: str) -> None:
    array = _array(dtype, _noise(carrier))
    assert alone_bits(array) == pytest.approx(8 * array.width, rel=0.002)


def test_a_constant_needs_none_and_two_values_one_bit_each() -> None:
    assert alone_bits(_array("F32", np.full(1000, 0.5, "<f4"))) == 0
    signs = np.tile(np.array([0.5, -0.5], "<f4"), 500)
    assert alone_bits(_array("F32", signs)) == pytest.approx(1)
    half_zero = np.tile(np.array([0.0, 0.5], "<f4"), 500)
    assert alone_bits(_array("F32", half_zero)) == pytest.approx(1)


def test_a_difference_of_nothing_costs_nothing() -> None:
    array = _array("BF16", _noise("<u2"))
    assert against_bits(array, array) == pytest.approx(0, abs=1e-9)
    assert tensor_bytes(array, array) == pytest.approx(0, abs=1e-3)


def test_a_difference_that_the_exponent_tells_costs_nothing() -> None:
    old = np.tile(np.array([0.5, 2.0], "<f4"), 5000)
    new = (old.view("<u4") + np.where(old == 2.0, np.uint32(3), np.uint32(0))).view("<f4")
    assert against_bits(_array("F32", new), _array("F32", old)) == pytest.approx(0, abs=1e-9)


def test_bits_below_the_next_three_are_raw() -> None:
    old = np.full(1 << 18, 1.0, "<f4")
    step = np.random.default_rng(2).integers(1 << 10, 1 << 11, old.size, np.uint32)
    new = (old.view("<u4") + step).view("<f4")
    assert against_bits(_array("F32", new), _array("F32", old)) == pytest.approx(10, rel=0.001)


def test_another_shape_is_coded_alone() -> None:
    one = _array("F32", _noise("<u4", 1 << 16))
    two = Array("F32", (256, 256), one.plain)
    assert tensor_bytes(one, two) == pytest.approx(one.plain.size, rel=0.01)
