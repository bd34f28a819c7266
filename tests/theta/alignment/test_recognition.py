"""Architectures are told by names and shapes, and what they permute leaves the function alone."""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from theta.alignment import ARCHITECTURES, apply, check_architecture, recognised, sizes
from theta_store.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH, HEADS = 8, 2
Shapes = dict[str, tuple[int, ...]]


def _encoder() -> nn.Module:
    block = nn.TransformerEncoderLayer(WIDTH, HEADS, 12, dropout=0, batch_first=True)
    body = nn.TransformerEncoder(block, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(5, WIDTH), body, nn.Linear(WIDTH, 3))


class _Both(nn.Module):
    """An encoder and a decoder, as torch puts them together."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(5, WIDTH)
        self.body = nn.Transformer(WIDTH, HEADS, 1, 1, 12, dropout=0, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        seen = self.read(inputs)
        return self.body(seen, seen)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.Linear(6, 3)),
    "transformer-encoder": _encoder,
    "transformer-decoder": _Both,
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_recognised_keeps_the_function(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    module = MAKERS[name]().eval()
    tensors = {key: value.numpy().copy() for key, value in module.state_dict().items()}
    found, spec = recognised({key: each.shape for key, each in tensors.items()}, heads=HEADS)
    assert found == name
    rng, units = np.random.default_rng(seed), sizes(spec, tensors)
    assert len(units) >= 2
    turned = apply(spec, {key: rng.permutation(count) for key, count in units.items()}, tensors)
    assert any(not np.array_equal(turned[key], tensors[key]) for key in tensors)
    inputs = torch.randn(4, 6, 5)
    with torch.no_grad():
        before = module(inputs)
        module.load_state_dict({key: torch.from_numpy(each) for key, each in turned.items()})
        assert torch.allclose(module(inputs), before, atol=1e-5)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=14), st.booleans())
def test_layers_follow_each_other_by_their_numbers(widths: list[int], biased: bool) -> None:
    pairs = list(pairwise(widths))
    shapes: Shapes = {f"net.{n}.weight": (made, read) for n, (read, made) in enumerate(pairs)}
    if biased:
        shapes |= {f"net.{n}.bias": (made,) for n, (_, made) in enumerate(pairs)}
    name, spec = recognised(shapes)
    assert name == "mlp"
    tensors = {key: np.zeros(shape) for key, shape in shapes.items()}
    assert list(sizes(spec, tensors).values()) == widths[1:-1]


def test_layers_of_other_names_are_no_stack_unless_somebody_says_so() -> None:
    shapes: Shapes = {"first.weight": (4, 4), "second.weight": (4, 4)}
    with pytest.raises(UsageError, match="no architecture that can be told"):
        recognised(shapes)
    assert recognised(shapes, "mlp")[0] == "mlp"
    with pytest.raises(UsageError, match="not those of the architecture mlp"):
        recognised({"a.weight": (4, 4), "b.weight": (4, 5)}, "mlp")


@pytest.mark.parametrize("norm", [{"1.weight": (4,)}, {"1.scale": (4,)}, {"1.weight": (4, 4, 3)}])
def test_what_is_not_linear_is_no_mlp(norm: Shapes) -> None:
    with pytest.raises(UsageError):
        recognised({"0.weight": (4, 4), "2.weight": (4, 4)} | norm, "mlp")


@pytest.mark.parametrize(("heads", "said"), [(None, "how many heads"), (3, "into 3 heads")])
def test_heads_are_said_and_fit(heads: int | None, said: str) -> None:
    shapes = {key: tuple(each.shape) for key, each in _encoder().state_dict().items()}
    with pytest.raises(UsageError, match=said):
        recognised(shapes, heads=heads)


def test_a_parameter_inside_a_block_that_no_rule_is_for_is_refused() -> None:
    shapes = {key: tuple(each.shape) for key, each in _encoder().state_dict().items()}
    shapes["1.layers.0.adapter.weight"] = (2, WIDTH)
    _, spec = recognised(shapes, heads=HEADS)
    with pytest.raises(UsageError, match=r"no rule for 1.layers.0.adapter.weight"):
        spec.of(shapes)


def test_keys_of_other_heads() -> None:
    first = "model.layers.0.self_attn."
    with pytest.raises(UsageError, match="keys of 6 elements"):
        recognised({f"{first}q_proj.weight": (8, 8), f"{first}k_proj.weight": (6, 8)}, heads=2)


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=re.escape(", ".join(ARCHITECTURES))):
        check_architecture("vgg")
