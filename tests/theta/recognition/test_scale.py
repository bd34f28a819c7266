"""A constant ratio is recognised where rounding cannot be its reason."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.theta.leaves import floats, leaf
from theta.examination import Leaf, examine, pairs


def _found(old: Leaf, new: Leaf) -> dict[str, float | None]:
    return {finding.kind: finding.amount for finding in examine(old, new).findings}


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@example(16.0390625, 1, "BF16", 0)
@example(16.037109375, 1, "BF16", 0)
@given(
    st.floats(0.05, 20).filter(lambda factor: abs(factor - 1) > 0.05),
    st.sampled_from([1, -1]),
    st.sampled_from(["F64", "F32", "F16", "BF16"]),
    st.integers(0, 10),
)
def test_the_factor_is_found(factor: float, sign: int, kind: str, seed: int) -> None:
    old = floats(_noise(seed, 3000), kind)
    values = _values(old)
    found = _found(old, floats(values * sign * factor, kind))
    tolerance = {"F64": 1e-12, "F32": 1e-6, "F16": 1e-3, "BF16": 1e-2}[kind]
    assert found["scaled"] == pytest.approx(sign * factor, rel=tolerance)


def _values(leaf: Leaf) -> np.ndarray:
    return np.concatenate([pair.left for pair in pairs(leaf, leaf)])


def test_one_other_element_is_no_scaling() -> None:
    old = _noise(0, 600, 700).astype("<f4").astype(np.float64)
    new = old * 0.5
    assert _found(floats(old), floats(new))["scaled"] == 0.5
    new[599, 3] *= 1.001
    assert "scaled" not in _found(floats(old), floats(new))


def test_zeros_stay_zeros() -> None:
    old = _noise(0, 100).astype("<f4").astype(np.float64)
    old[::2] = 0
    new = old * 3
    assert _found(floats(old), floats(new)) == {"scaled": pytest.approx(3)}
    new[0] = 1e-3
    assert _found(floats(old), floats(new)) == {}
    late = np.zeros((3, 1 << 18))
    late[2] = _noise(1, 1 << 18).astype("<f4")
    assert _found(floats(late), floats(late * 2))["scaled"] == pytest.approx(2)


def test_small_updates_in_few_bits_are_no_scaling() -> None:
    old = floats(_noise(0, 500, 500), "BF16")
    values = _values(old).reshape(500, 500)
    new = floats(values * (1 + 0.003 * _noise(1, 500, 500)), "BF16")
    assert examine(old, new).findings == ()


def test_a_few_other_roundings_are_no_scaling() -> None:
    old = floats(_noise(0, 500, 500), "BF16")
    plain = old.bytes(0, old.tensor.nbytes)
    plain[0] ^= 1
    plain[1000] ^= 1
    assert _found(old, leaf("BF16", (500, 500), bytes(plain))) == {}


def test_a_few_numbers_are_no_scaling() -> None:
    assert _found(floats(np.array([2.0])), floats(np.array([3.0]))) == {}
