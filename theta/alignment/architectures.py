"""Specifications of common architectures, by the names that torch and transformers give.

Owns what is permuted in them. Must not know values.

Every function takes the ``prefix`` of the names. What lies around (embeddings, heads) is added by
``+ Spec((Rule("embed.weight", (FREE, RESIDUAL)), …))``.
"""

from collections.abc import Iterator, Sequence

from theta.alignment.spec import FREE, Axis, Rule, Spec
from theta_store.errors import UsageError

# What the blocks of a transformer read and add to: one permutation for all.
RESIDUAL = Axis("residual")


def mlp(layers: Sequence[str]) -> Spec:
    """Return the specification of linear layers, named in their order.

    What they read and what the last one gives stays in place.
    """
    rules = []
    before = FREE
    for layer in layers:
        after = FREE if layer == layers[-1] else Axis(layer)
        rules += [Rule(f"{layer}.weight", (after, before)), Rule(f"{layer}.bias", (after,))]
        before = after
    return Spec(tuple(rules))


def transformer_encoder(heads: int, width: int, prefix: str = "") -> Spec:
    """Return the specification of ``torch.nn.TransformerEncoder``: heads, hidden units, residual.

    ``width`` is ``d_model``.
    """
    return _torch_transformer(heads, width, prefix, ("self_attn",))


def transformer_decoder(heads: int, width: int, prefix: str = "") -> Spec:
    """Return the specification of ``torch.nn.TransformerDecoder``.

    What it attends to has the same permutation as its own residual.
    """
    return _torch_transformer(heads, width, prefix, ("self_attn", "multihead_attn"))


def _torch_transformer(heads: int, width: int, prefix: str, attentions: Sequence[str]) -> Spec:
    block = f"{prefix}layers.{{}}."
    hidden = Axis(f"{block}hidden".replace("{}", "{0}"))
    rules = [
        Rule(f"{block}linear1.weight", (hidden, RESIDUAL)),
        Rule(f"{block}linear1.bias", (hidden,)),
        Rule(f"{block}linear2.weight", (RESIDUAL, hidden)),
        Rule(f"{block}linear2.bias", (RESIDUAL,)),
        Rule(f"{block}norm*", (RESIDUAL,)),
        Rule(f"{prefix}norm.*", (RESIDUAL,)),
    ]
    for attention in attentions:
        name = f"{block}{attention}"
        head = Axis(f"{name}.heads".replace("{}", "{0}"), inner=width // heads)
        three = Axis(head.permutation, inner=width // heads, outer=3)
        rules += [
            Rule(f"{name}.in_proj_weight", (three, RESIDUAL)),
            Rule(f"{name}.in_proj_bias", (three,)),
            Rule(f"{name}.out_proj.weight", (RESIDUAL, head)),
            Rule(f"{name}.out_proj.bias", (RESIDUAL,)),
        ]
    return Spec(tuple(rules))


def llama(heads: int, kv_heads: int, head_width: int, prefix: str = "") -> Spec:
    """Return the specification of transformers' Llama, Mistral and Qwen: rotary, grouped heads.

    Heads that share keys and values move as one.
    """
    if heads % kv_heads:
        raise UsageError(f"{heads} heads cannot share {kv_heads} keys and values")
    block = f"{prefix}model.layers.{{}}."
    group, key = (
        Axis(f"{prefix}model.layers.{{0}}.heads", inner=inner)
        for inner in (heads // kv_heads * head_width, head_width)
    )
    hidden = Axis(f"{prefix}model.layers.{{0}}.hidden")
    made = {"self_attn.q": group, "self_attn.k": key, "self_attn.v": key}
    made |= {"mlp.gate": hidden, "mlp.up": hidden}
    read = {"self_attn.o": group, "mlp.down": hidden}
    return Spec(
        (
            Rule(f"{prefix}model.embed_tokens.weight", (FREE, RESIDUAL)),
            Rule(f"{prefix}lm_head.weight", (FREE, RESIDUAL)),
            Rule(f"{prefix}model.norm.weight", (RESIDUAL,)),
            Rule(f"{block}*layernorm.weight", (RESIDUAL,)),
            Rule(f"{block}self_attn.*_norm.weight"),
            *(Rule(f"{block}{n}_proj.weight", (axis, RESIDUAL)) for n, axis in made.items()),
            *(Rule(f"{block}{n}_proj.bias", (axis,)) for n, axis in made.items()),
            *(Rule(f"{block}{n}_proj.weight", (RESIDUAL, axis)) for n, axis in read.items()),
            *(Rule(f"{block}{n}_proj.bias", (RESIDUAL,)) for n, axis in read.items()),
        )
    )


def resnet(prefix: str = "", *, stages: int = 4, bottleneck: bool = False) -> Spec:
    """Return the specification of torchvision's ResNet: the channels of its convolutions.

    ``bottleneck``: blocks of three convolutions, as from ResNet-50 on.
    """
    stem = Axis(f"{prefix}stem" if bottleneck else f"{prefix}layer1")
    rules = [Rule(f"{prefix}conv1.weight", (stem,)), *_norm(f"{prefix}bn1", stem)]
    before = stem
    for stage in range(1, stages + 1):
        after = Axis(f"{prefix}layer{stage}")
        rules += _stage(f"{prefix}layer{stage}", before, after, 3 if bottleneck else 2)
        before = after
    return Spec((*rules, Rule(f"{prefix}fc.weight", (FREE, before)), Rule(f"{prefix}fc.bias")))


def _stage(name: str, before: Axis, after: Axis, convolutions: int) -> Iterator[Rule]:
    """Yield the rules of one stage's blocks; the first block alone reads what came before."""
    made = [Axis(f"{name}.{{0}}.conv{n}") for n in range(1, convolutions)] + [after]
    first = Axis(made[0].permutation.format(0))
    yield Rule(f"{name}.0.conv1.weight", (first, before))
    for number, (out, source) in enumerate(zip(made, [after, *made], strict=False), 1):
        yield Rule(f"{name}.{{}}.conv{number}.weight", (out, source))
        yield from _norm(f"{name}.{{}}.bn{number}", out)
    yield Rule(f"{name}.{{}}.downsample.0.weight", (after, before))
    yield from _norm(f"{name}.{{}}.downsample.1", after)


def _norm(name: str, axis: Axis) -> Iterator[Rule]:
    for value in ("weight", "bias"):
        yield Rule(f"{name}.{value}", (axis,))
    for value in ("running_mean", "running_var"):
        yield Rule(f"{name}.{value}", (axis,), compared=False)
    yield Rule(f"{name}.num_batches_tracked")
