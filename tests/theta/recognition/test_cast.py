"""Casts are recognised by exact bits, in both directions, and not by nearness."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.theta.leaves import floats, leaf
from theta.examination import Leaf, examine

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NARROW = [("F32", "BF16"), ("F32", "F16"), ("F64", "F32"), ("F64", "F16"), ("BF16", "F16")]


def _leaf(values: torch.Tensor, kind: str) -> Leaf:
    return leaf(kind, values.shape, values.contiguous().view(torch.uint8).numpy().tobytes())


def _texts(old: Leaf, new: Leaf) -> list[str]:
    return [finding.text for finding in examine(old, new).findings]


@pytest.mark.parametrize(("wide", "narrow"), NARROW)
def test_the_casts_of_torch_are_exact_casts(wide: str, narrow: str) -> None:
    torch.manual_seed(0)
    values = torch.randn(3000, dtype=torch.float64).to(TORCH[wide])
    values[:4] = torch.tensor([float("inf"), float("nan"), -0.0, 1e-30])
    old, new = _leaf(values, wide), _leaf(values.to(TORCH[narrow]), narrow)
    assert _texts(old, new) == [f"exact {narrow.lower()} cast"]


def test_widening_is_a_cast_and_the_way_back_is_named() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    single, brain = floats(values), floats(values, "BF16")
    assert _texts(brain, single) == ["old is the exact bf16 cast of new"]
    exact = floats((np.arange(1000) % 128).astype(np.float64), "BF16")
    assert _texts(exact, floats((np.arange(1000) % 128).astype(np.float64))) == ["exact f32 cast"]


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30),
    st.sampled_from(["BF16", "F16"]),
    st.data(),
)
def test_one_other_bit_is_no_cast(bits: list[int], kind: str, data: st.DataObject) -> None:
    values = np.array(bits, "<u4").view("<f4")
    old = leaf("F32", (len(bits),), values.tobytes())
    with np.errstate(all="ignore"):
        new = floats(values, kind)
    assert f"exact {kind.lower()} cast" in _texts(old, new)
    plain = bytearray(new.bytes(0, new.tensor.nbytes))
    at = data.draw(st.integers(0, len(bits) - 1))
    if not np.isnan(values[at]):
        plain[2 * at] ^= 1
        assert _texts(old, leaf(kind, (len(bits),), bytes(plain))) == []


def test_two_roundings_are_never_called_a_cast() -> None:
    # By way of float32 this double rounds to 1, at once it rounds to 1 + 2**-7.
    value = np.array([1 + 2.0**-8 + 2.0**-40])
    up = leaf("BF16", (1,), np.array([0x3F81], "<u2").tobytes())
    down = leaf("BF16", (1,), np.array([0x3F80], "<u2").tobytes())
    assert _texts(floats(value, "F64"), down) == []
    assert _texts(floats(value, "F64"), up) == []


def test_float8_is_cast_by_the_same_rule() -> None:
    values = np.random.default_rng(1).standard_normal(500)
    single = floats(values)
    assert _texts(single, floats(values.astype("<f4"), "F8_E4M3")) == ["exact f8_e4m3 cast"]
