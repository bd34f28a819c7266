"""Folding an adapter into the weights computes what the adapter computes beside them."""

import torch

from benchmarks.storage.adapters import (
    SCALE,
    fold_ia3,
    merge_lora,
    merge_lora_rounding_first,
    new_ia3,
    new_lora,
)
from benchmarks.storage.transformer import Shape, Transformer, seeded

SHAPE = Shape(vocabulary=40, width=16, layers=2, heads=2, context=8)
TOKENS = torch.arange(8)[None]


def _filled(factors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn_like(value) for name, value in factors.items()}


def _loaded(state: dict[str, torch.Tensor]) -> Transformer:
    model = Transformer(SHAPE)
    model.load_state_dict(state)
    return model


@torch.no_grad()
def test_a_new_adapter_changes_nothing() -> None:
    state = seeded(SHAPE, 0).state_dict()
    for merged in (merge_lora(state, new_lora(state, 0)), fold_ia3(state, new_ia3(state))):
        assert all(torch.equal(merged[name], value) for name, value in state.items())


@torch.no_grad()
def test_lora_adds_a_product_to_the_matrices_of_the_blocks_alone() -> None:
    state = seeded(SHAPE, 0).state_dict()
    factors = _filled(new_lora(state, 0))
    merged = merge_lora(state, factors)
    changed = {name for name in state if not torch.equal(merged[name], state[name])}
    assert changed == {name for name in state if "blocks" in name and state[name].ndim == 2}
    name = "blocks.1.up.weight"
    expected = state[name] + SCALE * (factors[f"{name}.B"] @ factors[f"{name}.A"])
    assert torch.equal(merged[name], expected)


@torch.no_grad()
def test_the_two_orders_of_rounding_differ_by_a_rounding() -> None:
    state = {name: value.bfloat16() for name, value in seeded(SHAPE, 0).state_dict().items()}
    factors = _filled(new_lora(state, 0))
    once, first = merge_lora(state, factors), merge_lora_rounding_first(state, factors)
    name = "blocks.0.down.weight"
    assert once[name].dtype == first[name].dtype == torch.bfloat16
    assert not torch.equal(once[name], first[name])
    assert torch.allclose(once[name].float(), first[name].float(), rtol=2**-6, atol=0.1)


@torch.no_grad()
def test_ia3_scales_keys_values_and_the_inner_layer() -> None:
    model = seeded(SHAPE, 0)
    vectors = _filled(new_ia3(model.state_dict()))
    folded = _loaded(fold_ia3(model.state_dict(), vectors))
    for i, block in enumerate(model.blocks):
        for layer in ("k", "v"):
            scale = vectors[f"blocks.{i}.attention.{layer}.scale"]
            getattr(block.attention, layer).register_forward_hook(
                lambda _, __, out, scale=scale: out * scale
            )
        scale = vectors[f"blocks.{i}.down.scale"]
        block.down.register_forward_pre_hook(lambda _, given, scale=scale: (given[0] * scale,))
    assert torch.allclose(model(TOKENS), folded(TOKENS), atol=1e-4)
