"""Updates that are trained beside the weights and then folded into them.

Owns the formulas of LoRA and IA3; the same pure function adapts the weights while training and
merges them afterwards. Must not know optimizers or files.
"""

from collections.abc import Callable

import torch
from torch import Tensor

State = dict[str, Tensor]
Merge = Callable[[State, State], State]

RANK = 8
SCALE = 2.0  # alpha 16 over rank 8
_MATRICES = ("attention.q.weight", "attention.k.weight", "attention.v.weight", "attention.o.weight",
             "up.weight", "down.weight")  # fmt: skip


def new_lora(state: State, seed: int) -> State:
    """Return factors for every matrix of the blocks: A random, B zero, as PEFT starts."""
    made = torch.Generator().manual_seed(seed)
    factors = {}
    for name in (name for name in state if name.endswith(_MATRICES)):
        rows, columns = state[name].shape
        factors[f"{name}.A"] = torch.randn(RANK, columns, generator=made) / columns**0.5
        factors[f"{name}.B"] = torch.zeros(rows, RANK)
    return factors


def merge_lora(state: State, factors: State) -> State:
    """Return W + scale · B·A, computed in float32 and rounded once to the dtype of W."""
    return _merged(state, factors, lambda weight, product: weight.float() + product)


def merge_lora_rounding_first(state: State, factors: State) -> State:
    """Return W + scale · B·A with the product rounded to the dtype of W first, as PEFT merges."""
    return _merged(state, factors, lambda weight, product: weight + product.to(weight.dtype))


def _merged(state: State, factors: State, add: Callable[[Tensor, Tensor], Tensor]) -> State:
    merged = dict(state)
    for name in (name for name in state if f"{name}.A" in factors):
        product = SCALE * (factors[f"{name}.B"] @ factors[f"{name}.A"])
        merged[name] = add(state[name], product).to(state[name].dtype)
    return merged


def new_ia3(state: State) -> State:
    """Return vectors of ones for keys, values and the inner layer of every block."""
    vectors = {}
    for name, weight in state.items():
        if name.endswith(("attention.k.weight", "attention.v.weight")):
            vectors[f"{name.removesuffix('.weight')}.scale"] = torch.ones(len(weight))
        elif name.endswith("down.weight"):
            vectors[f"{name.removesuffix('.weight')}.scale"] = torch.ones(weight.shape[1])
    return vectors


def fold_ia3(state: State, vectors: State) -> State:
    """Return keys and values scaled by rows (bias too), the inner layer by columns."""
    folded = dict(state)
    for name, scale in vectors.items():
        layer = name.removesuffix(".scale")
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        if layer.endswith("down"):
            folded[weight] = state[weight] * scale
        else:
            folded[weight] = state[weight] * scale[:, None]
            folded[bias] = state[bias] * scale
    return folded
