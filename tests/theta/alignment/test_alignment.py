"""Permuted models compute the same, and a permuted copy is recovered exactly."""

import sys
from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from theta.alignment import (
    FREE,
    RESIDUAL,
    Axis,
    Rule,
    Spec,
    align,
    apply,
    llama,
    mlp,
    resnet,
    sizes,
    transformer_decoder,
    transformer_encoder,
)
from theta_store.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
Tensors = dict[str, NDArray[np.float32]]

WIDTH, HEADS, VOCABULARY = 12, 3, 20
AROUND = Spec(
    (
        Rule("embed.weight", (FREE, RESIDUAL)),
        Rule("head.weight", (FREE, RESIDUAL)),
        Rule("head.bias"),
    )
)


class Transformer(nn.Module):
    """Tokens to tokens; ``decodes``: a decoder that attends to the embedded tokens."""

    def __init__(self, *, decodes: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        kind = nn.TransformerDecoderLayer if decodes else nn.TransformerEncoderLayer
        block = kind(WIDTH, HEADS, 24, dropout=0, batch_first=True)
        self.body = (
            nn.TransformerDecoder(block, 2, nn.LayerNorm(WIDTH))
            if decodes
            else nn.TransformerEncoder(block, 2, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        )
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        seen = self.embed(tokens)
        done = (
            self.body(seen, seen)
            if isinstance(self.body, nn.TransformerDecoder)
            else self.body(seen)
        )
        return self.head(done)


class Block(nn.Module):
    """A block of a ResNet, with torchvision's names."""

    def __init__(self, before: int, after: int, *, bottleneck: bool) -> None:
        super().__init__()
        middle = after // 2 if bottleneck else after
        sizes = [(before, middle, 1), (middle, middle, 3), (middle, after, 1)]
        for number, (read, made, kernel) in enumerate(sizes if bottleneck else sizes[:2], 1):
            convolution = nn.Conv2d(read, made, kernel, padding=kernel // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(made))
        self.downsample = None
        if before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        done = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(images)))))
        if hasattr(self, "conv3"):
            done = self.bn3(self.conv3(torch.relu(done)))
        return torch.relu(done + (self.downsample(images) if self.downsample else images))


class ResNet(nn.Module):
    """Two stages of two blocks, with torchvision's names."""

    def __init__(self, *, bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        width = 16 if bottleneck else 8
        for number, (before, after) in enumerate([(8, width), (width, 20)], 1):
            blocks = [
                Block(*sides, bottleneck=bottleneck) for sides in ((before, after), (after, after))
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(20, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        done = torch.relu(self.bn1(self.conv1(images)))
        return self.fc(self.layer2(self.layer1(done)).mean((2, 3)))


def _tiny_llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=True,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def _tokens() -> torch.Tensor:
    return torch.arange(30).reshape(3, 10) % VOCABULARY


def _images() -> torch.Tensor:
    return torch.linspace(-1, 1, 2 * 3 * 49).reshape(2, 3, 7, 7).sin()


MODELS: dict[str, tuple[Callable[[], nn.Module], Spec, Callable[[], torch.Tensor]]] = {
    "encoder": (
        lambda: Transformer(decodes=False),
        transformer_encoder(HEADS, WIDTH, "body.") + AROUND,
        _tokens,
    ),
    "decoder": (
        lambda: Transformer(decodes=True),
        transformer_decoder(HEADS, WIDTH, "body.") + AROUND,
        _tokens,
    ),
    "llama": (_tiny_llama, llama(4, 2, 4), _tokens),
    "resnet": (lambda: ResNet(bottleneck=False), resnet(stages=2), _images),
    "bottleneck": (
        lambda: ResNet(bottleneck=True),
        resnet(stages=2, bottleneck=True),
        _images,
    ),
}
every = pytest.mark.parametrize("which", MODELS)


def _model(which: str, seed: int) -> tuple[nn.Module, Tensors]:
    torch.manual_seed(seed)
    model = MODELS[which][0]().eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.ndim == 1:  # norms and biases begin equal, which no unit of a trained one is
                tensor.add_(torch.rand(tensor.shape))
    return model, {name: each.numpy().copy() for name, each in model.state_dict().items()}


def _answers(model: nn.Module, tensors: Mapping[str, NDArray], given: torch.Tensor) -> NDArray:
    model.load_state_dict({name: torch.from_numpy(each.copy()) for name, each in tensors.items()})
    with torch.no_grad():
        answer = model(given)
    return getattr(answer, "logits", answer).numpy()


def _random(spec: Spec, tensors: Tensors, seed: int) -> dict[str, NDArray[np.intp]]:
    chooser = np.random.default_rng(seed)
    return {name: chooser.permutation(n) for name, n in sizes(spec, tensors).items()}


@every
def test_permuted_units_leave_the_function_as_it_is(which: str) -> None:
    _, spec, given = MODELS[which]
    model, tensors = _model(which, 0)
    before = _answers(model, tensors, given())
    turned = apply(spec, _random(spec, tensors, 1), tensors)
    moved = [name for name in tensors if (turned[name] != tensors[name]).any()]
    assert len(moved) >= 0.7 * len(tensors)
    np.testing.assert_allclose(_answers(model, turned, given()), before, rtol=1e-4, atol=1e-5)


@every
@pytest.mark.parametrize("seed", range(3))
def test_a_permuted_copy_is_recovered_exactly(which: str, seed: int) -> None:
    spec = MODELS[which][1]
    _, tensors = _model(which, seed)
    turned = apply(spec, _random(spec, tensors, seed + 1), tensors)
    found = apply(spec, align(spec, tensors, turned), turned)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def _layers(seed: int, widths: list[int]) -> tuple[Spec, Tensors]:
    chooser = np.random.default_rng(seed)
    names = [f"layer{n}" for n in range(len(widths) - 1)]
    tensors = {}
    for name, read, made in zip(names, widths, widths[1:], strict=False):
        tensors[f"{name}.weight"] = chooser.standard_normal((made, read))
        tensors[f"{name}.bias"] = chooser.standard_normal(made)
    return mlp(names), tensors


def _forward(tensors: Tensors, inputs: NDArray) -> NDArray:
    last = len(tensors) // 2 - 1
    for n in range(last + 1):
        inputs = inputs @ tensors[f"layer{n}.weight"].T + tensors[f"layer{n}.bias"]
        inputs = np.maximum(inputs, 0) if n < last else inputs
    return inputs


widths = st.lists(st.integers(1, 20), min_size=2, max_size=5)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), widths)
def test_mlps(seed: int, hidden: list[int]) -> None:
    spec, tensors = _layers(seed, [6, *hidden, 3])
    orders = _random(spec, tensors, seed + 1)
    turned = apply(spec, orders, tensors)
    inputs = np.random.default_rng(seed).standard_normal((5, 6))
    np.testing.assert_allclose(_forward(turned, inputs), _forward(tensors, inputs), rtol=1e-6)
    found = align(spec, tensors, turned)
    for name, order in orders.items():  # one undoes the other
        np.testing.assert_array_equal(order[found[name]], np.arange(len(order)))
    assert apply(spec, {}, tensors).keys() == tensors.keys()


def test_noise_does_not_hide_a_copy() -> None:
    spec, tensors = _layers(0, [6, 16, 16, 3])
    chooser = np.random.default_rng(1)
    noisy = {n: t + 0.1 * chooser.standard_normal(t.shape) for n, t in tensors.items()}
    turned = apply(spec, _random(spec, tensors, 2), noisy)
    found = apply(spec, align(spec, tensors, turned), turned)
    for name, tensor in noisy.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_alignment_never_makes_models_less_similar() -> None:
    for seed in range(20):
        (spec, a), (_, b) = (_layers(seed + n, [6, 9, 9, 9, 3]) for n in (0, 100))
        found = apply(spec, align(spec, a, b), b)
        assert _similarity(a, found) > _similarity(a, b)


def _similarity(a: Tensors, b: Tensors) -> float:
    return sum(float((a[name] * b[name]).sum()) for name in a)


def test_no_exchange_of_two_units_brings_models_nearer() -> None:
    for seed in range(5):
        (spec, a), (_, b) = (_layers(seed + n, [6, 9, 9, 9, 3]) for n in (0, 100))
        orders = align(spec, a, b)
        best = _similarity(a, apply(spec, orders, b))
        for name, order in orders.items():
            for left, right in combinations(range(len(order)), 2):
                turned = order.copy()
                turned[[left, right]] = order[[right, left]]
                other = apply(spec, {**orders, name: turned}, b)
                assert _similarity(a, other) <= best + 1e-9


def test_units_that_read_and_write_the_same_are_permuted_on_both_sides() -> None:
    spec = Spec((Rule("in", (Axis("p"),)), Rule("loop", (Axis("p"), Axis("p")))))
    chooser = np.random.default_rng(0)
    tensors = {"in": chooser.standard_normal((8, 2)), "loop": chooser.standard_normal((8, 8))}
    turned = apply(spec, {"p": chooser.permutation(8)}, tensors)
    found = apply(spec, align(spec, tensors, turned), turned)
    np.testing.assert_array_equal(found["loop"], tensors["loop"])


def test_permutations_of_any_dtype() -> None:
    spec = Spec((Rule("w*", (Axis("p", inner=2),)),))
    tensor = np.arange(6, dtype=np.uint16)
    turned = apply(spec, {"p": np.array([2, 0, 1])}, {"w0": tensor})
    assert turned["w0"].tolist() == [4, 5, 0, 1, 2, 3]
    assert turned["w0"].dtype == np.uint16


def test_what_does_not_fit_is_refused() -> None:
    spec, tensors = _layers(0, [4, 6, 2])
    with pytest.raises(UsageError, match="no rule for other"):
        apply(spec, {}, {**tensors, "other": tensors["layer0.bias"]})
    with pytest.raises(UsageError, match="has 5 units of layer0"):
        sizes(spec, {**tensors, "layer0.bias": np.zeros(5)})
    with pytest.raises(UsageError, match="3 places for 6 units"):
        apply(spec, {"layer0": np.arange(3)}, tensors)
    with pytest.raises(UsageError, match="no axis 0 of units of 4"):
        sizes(Spec((Rule("*", (Axis("p", inner=4),)),)), {"w": np.zeros(6)})
    with pytest.raises(UsageError, match="different names or shapes"):
        align(spec, tensors, {})
    with pytest.raises(UsageError, match="not finite"):
        align(spec, tensors, {**tensors, "layer0.bias": np.full(6, np.nan)})
    with pytest.raises(UsageError, match="cannot share"):
        llama(4, 3, 8)


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, tensors = _layers(0, [4, 6, 2])
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(UsageError, match="needs scipy") as refused:
        align(spec, tensors, tensors)
    assert refused.value.hint == "pip install 'theta-vcs[align]'"
