"""A small causal transformer in plain torch.

Owns its layers and their names. Must not know how it is trained or kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = "embed.weight"
HEAD = "head.weight"
VOCABULARY_ROWS = (EMBEDDING, HEAD)


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer."""

    vocabulary: int = 2560
    width: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 64


class Attention(nn.Module):
    """Causal self-attention with the four projections apart."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q = nn.Linear(shape.width, shape.width)
        self.k = nn.Linear(shape.width, shape.width)
        self.v = nn.Linear(shape.width, shape.width)
        self.o = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, context, width)."""
        parts = [layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.q, self.k, self.v)]
        q, k, v = (part.transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm and added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, context, width)."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a norm and a head of its own weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        self.position = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.apply(_initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores (batch, context, vocabulary) of the next token."""
        x = self.embed(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def embedding_share(model: Transformer) -> float:
    """Return the part of the parameters that belongs to a vocabulary: embedding and head."""
    state = model.state_dict()
    rows = sum(state[name].numel() for name in VOCABULARY_ROWS)
    return rows / sum(tensor.numel() for tensor in state.values())


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers a model holds."""
    return sum(parameter.numel() for parameter in model.parameters())


def seeded(shape: Shape, seed: int) -> Transformer:
    """Return a new model whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return Transformer(shape)
