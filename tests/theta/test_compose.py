"""Manifests, new routers, and a composed folder as the transformers library reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from theta.compose import (
    Expert,
    Gate,
    Given,
    Manifest,
    Random,
    Trunk,
    Zeros,
    gate_values,
    mixtral_config,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from theta.repo import Author, Repo
from theta.repo.compositions import Planner
from theta_store.errors import IntegrityError, RefMoved, UsageError

GOLDEN = """\
{
  "experts": [
    {
      "file": "model.safetensors",
      "name": "code",
      "prefix": "module",
      "revision": "0a"
    },
    {
      "file": null,
      "name": "math",
      "prefix": "",
      "revision": "HEAD"
    }
  ],
  "experts_per_token": 1,
  "mode": "moe",
  "router": {
    "kind": "random",
    "seed": 7
  },
  "trunk": {
    "file": "base/model.safetensors",
    "revision": "main"
  },
  "version": 1
}
"""
MANIFEST = Manifest(
    Trunk("main", "base/model.safetensors"),
    (Expert("code", "0a", "model.safetensors", "module"), Expert("math")),
    Random(7),
    experts_per_token=1,
)
words = st.text(min_size=1, max_size=8)


def test_the_canonical_text_is_frozen() -> None:
    assert write_manifest(MANIFEST).decode() == GOLDEN
    assert read_manifest(GOLDEN.encode()) == MANIFEST


@given(
    st.lists(words, min_size=2, max_size=5, unique=True),
    words,
    words | st.none(),
    st.one_of(st.just(Zeros()), st.integers(0, 2**40).map(Random), words.map(Given), st.none()),
)
def test_a_manifest_is_read_as_it_was_written(
    names: list[str], revision: str, file: str | None, router: Zeros | Random | Given | None
) -> None:
    experts = tuple(Expert(name, revision, file, revision) for name in names)
    made = Manifest(Trunk(revision, file), experts, router)
    text = write_manifest(made)
    assert read_manifest(text) == parse_manifest(text, "a.json") == made
    assert write_manifest(read_manifest(text)) == text


def test_a_damaged_manifest() -> None:
    with pytest.raises(IntegrityError, match="the manifest is damaged"):
        read_manifest(b"{}")
    with pytest.raises(UsageError, match=r"a\.toml is no manifest"):
        parse_manifest(b"\xff", "a.toml")


@pytest.mark.parametrize("dtype", ["F32", "F64", "F16", "BF16"])
def test_random_gates_depend_on_the_seed_and_the_name_alone(dtype: str) -> None:
    gate = Gate("layers.0.gate", dtype, (3, 16))
    first = gate_values(gate, Random(1))
    assert len(first) == gate.nbytes
    assert first == gate_values(gate, Random(1))
    assert first != gate_values(gate, Random(2))
    assert first != gate_values(Gate("layers.1.gate", dtype, (3, 16)), Random(1))
    assert gate_values(gate, Zeros()) == bytes(gate.nbytes)


def test_random_gates_are_uniform_and_frozen() -> None:
    values = np.frombuffer(gate_values(Gate("g", "F32", (100, 64)), Random(0)), "<f4")
    bound = 1 / 8
    assert np.abs(values).max() <= bound
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - bound / 3**0.5) < 0.01
    assert gate_values(Gate("g", "F32", (1, 2)), Random(0)).hex() == "f599c93ecabbadbe"
    with pytest.raises(UsageError, match="a router of I8"):
        gate_values(Gate("g", "I8", (1, 2)), Random(0))


def test_a_config_spells_out_what_mixtral_would_take_otherwise() -> None:
    old = {"model_type": "mistral", "num_attention_heads": 8, "custom": [1], "auto_map": {}}
    new = json.loads(mixtral_config(json.dumps(old).encode(), experts=4, per_token=2))
    assert new["sliding_window"] == 4096
    assert new["rope_theta"] == 10000.0
    assert new["rms_norm_eps"] == 1e-6
    assert (new["num_local_experts"], new["num_experts_per_tok"]) == (4, 2)
    assert new["custom"] == [1]
    assert "auto_map" not in new
    llama = {"model_type": "llama", "num_attention_heads": 8, "rope_parameters": {"a": 1}}
    new = json.loads(mixtral_config(json.dumps(llama).encode(), experts=4, per_token=2))
    assert new["num_key_value_heads"] == 8
    assert "rope_theta" not in new


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"{}", "no model_type"),
        (b'{"model_type": "gpt2"}', "gpt2"),
        (b'{"model_type": "llama", "mlp_bias": true}', "mlp_bias"),
    ],
)
def test_a_config_that_cannot_be_a_mixtral(config: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        mixtral_config(config, experts=2, per_token=2)


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {}),
    ("Llama", {"tie_word_embeddings": True, "num_key_value_heads": 2, "rms_norm_eps": 1e-3}),
    (
        "Mistral",
        {"sliding_window": 3, "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
    ),
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("silent", [False, True])
def test_two_equal_experts_answer_as_the_trunk(
    repo: Repo, ada: Author, kind: str, options: dict[str, Any], silent: bool
) -> None:
    """The router's shares sum to 1, so a mixture of one model with itself is that model."""
    import torch
    import transformers

    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64}
    # Weights so large that every part of the config is felt in the answers.
    large = {"initializer_range": 0.4}
    made = getattr(transformers, f"{kind}Config")(**{**sizes, **heads, **large, **options})
    torch.manual_seed(0)
    trunk = getattr(transformers, f"{kind}ForCausalLM")(made).eval()
    base = repo.root / "base"
    trunk.save_pretrained(base)
    if silent:
        _leave_out_defaults(base / "config.json", kind)
        trunk = transformers.AutoModelForCausalLM.from_pretrained(base).eval()
    repo.add(["base"])
    repo.commit("base", author=ada)
    experts = (Expert("a", "main"), Expert("b", "main"))
    manifest = Manifest(Trunk("main"), experts, Random(3))
    repo.compose(manifest, "moe/model.safetensors", author=ada)
    mixed, report = transformers.AutoModelForCausalLM.from_pretrained(
        repo.root / "moe", output_loading_info=True
    )
    assert type(mixed).__name__ == "MixtralForCausalLM"
    assert not any(report.values()), report
    with safe_open(repo.root / "moe/model.safetensors", "np") as file:
        assert file.metadata()["format"] == "pt"
    tokens = torch.arange(20)[None] * 7 % 32
    with torch.no_grad():
        wanted, found = trunk(tokens).logits, mixed.eval()(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_commit_that_comes_in_between_is_not_lost(
    repo: Repo, ada: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("m.npz", "note.npz"):
        np.savez(repo.root / name, w=np.ones(3))
    repo.add(["m.npz", "note.npz"])
    first = repo.commit("first", author=ada)
    manifest = Manifest(Trunk("main", "m.npz"), (Expert("a", "main", "m.npz"),), Zeros(), "smear")
    plan = Planner.plan

    def late(planner: Planner, *given: Any) -> Any:
        np.savez(repo.root / "note.npz", w=np.zeros(3))
        repo.commit("in between", author=ada)
        return plan(planner, *given)

    monkeypatch.setattr(Planner, "plan", late)
    with pytest.raises(RefMoved):
        repo.compose(manifest, "experts", author=ada)
    assert {path.name for path in repo.root.iterdir()} == {".theta", "m.npz", "note.npz"}
    assert repo.status().clean
    assert repo.store.commit(repo.head.commit).parents == (first.id,)
    assert repo.store.commit(repo.head.commit).message == "in between"


def _leave_out_defaults(path: Path, kind: str) -> None:
    """Leave out of a config what its class takes anyway: configs of the Hub often do."""
    import transformers

    defaults = getattr(transformers, f"{kind}Config")().to_dict()
    config = json.loads(path.read_text())
    kept = {k: v for k, v in config.items() if k == "model_type" or defaults.get(k) != v}
    path.write_text(json.dumps(kept))
