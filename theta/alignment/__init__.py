"""Alignment: hidden units of one model reordered until they match those of another.

Owns weight matching (Ainsworth, Hayase and Srinivasa 2023, "Git Re-Basin"): what may be permuted
in an architecture, the permutations that bring one model nearest to another, and applying them.
Must not know the store: models are arrays by name. Only `align` needs scipy.
"""

from theta.alignment.architectures import (
    RESIDUAL,
    llama,
    mlp,
    resnet,
    transformer_decoder,
    transformer_encoder,
)
from theta.alignment.matching import align
from theta.alignment.permutations import Permutations, apply, permuted, sizes
from theta.alignment.recognition import ARCHITECTURES, check_architecture, recognised
from theta.alignment.spec import FREE, Axis, Rule, Spec

__all__ = [
    "ARCHITECTURES",
    "FREE",
    "RESIDUAL",
    "Axis",
    "Permutations",
    "Rule",
    "Spec",
    "align",
    "apply",
    "check_architecture",
    "llama",
    "mlp",
    "permuted",
    "recognised",
    "resnet",
    "sizes",
    "transformer_decoder",
    "transformer_encoder",
]
