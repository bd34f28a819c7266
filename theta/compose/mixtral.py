"""The config of a mixture of experts, from that of the model it was made from.

Owns the keys of ``config.json`` as the transformers library reads it. Must not read files.
"""

import json
from typing import Any

from theta_store.errors import UsageError

# What the library takes where a config is silent, and Mixtral would take something else.
_SILENT: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048, "intermediate_size": 11008, "sliding_window": None},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
}
_ROPE_THETA = 10000.0
_RMS_NORM_EPS = 1e-6
# What Mixtral has no place for, where it is switched on.
_REFUSED = ("attention_bias", "mlp_bias")
_DROPPED = frozenset({"attention_bias", "mlp_bias", "pretraining_tp", "auto_map", "_name_or_path"})


def mixtral_config(text: bytes, *, experts: int, per_token: int) -> bytes:
    """Return the config of a Mixtral with so many experts, of which each token asks ``per_token``.

    Every value is the trunk's own, spelled out where its kind of model has another default. A
    model that is neither Llama nor Mistral, or has biases, is a `UsageError`.
    """
    old = _decoded(text)
    kind = old.get("model_type")
    if kind not in _SILENT:
        raise UsageError(
            f"config.json is of {kind or 'no'} model_type; moe takes {' or '.join(_SILENT)}"
        )
    wrong = [key for key in _REFUSED if old.get(key)]
    if wrong:
        raise UsageError(f"config.json says {wrong[0]}; a mixture of experts has none")
    new = {**_SILENT[kind], "rms_norm_eps": _RMS_NORM_EPS, **old}
    if "rope_parameters" not in old:
        new.setdefault("rope_theta", _ROPE_THETA)
    if "num_attention_heads" in new:
        new.setdefault("num_key_value_heads", new["num_attention_heads"])
    new = {key: value for key, value in new.items() if key not in _DROPPED}
    new |= {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    new |= {"num_local_experts": experts, "num_experts_per_tok": per_token}
    return (json.dumps(new, indent=2, sort_keys=True) + "\n").encode()


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError("config.json of the trunk is no JSON object")
    return found
