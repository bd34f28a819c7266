"""The models that mergekit and theta merge by the same YAML: a tiny llama and what it became."""

import numpy as np

HIDDEN, INNER, LAYERS, TOKENS = 8, 12, 3, 16
MODELS = ("base", "a", "b", "c")


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the parameters of the llama that `CONFIG` describes."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (TOKENS, HIDDEN)}
    for layer in range(LAYERS):
        own = f"model.layers.{layer}."
        found |= {
            f"{own}self_attn.{part}_proj.weight": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "o")
        }
        found |= {f"{own}mlp.{part}_proj.weight": (INNER, HIDDEN) for part in ("gate", "up")}
        found[f"{own}mlp.down_proj.weight"] = (HIDDEN, INNER)
        found[f"{own}input_layernorm.weight"] = (HIDDEN,)
        found[f"{own}post_attention_layernorm.weight"] = (HIDDEN,)
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (TOKENS, HIDDEN)}


CONFIG = {
    "vocab_size": TOKENS,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}


def model(name: str) -> dict[str, np.ndarray]:
    """Return a model: of the base random numbers, of the others these and random changes."""
    made = {}
    for place, (parameter, shape) in enumerate(shapes().items()):
        base = np.random.default_rng(place).normal(size=shape)
        change = np.random.default_rng([place, MODELS.index(name)]).normal(size=shape)
        made[parameter] = (base + 0.1 * change * (name != "base")).astype(np.float32)
    return made
