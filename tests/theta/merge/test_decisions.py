"""How deep a parameter lies in its model."""

import pytest

from theta.merge.decisions import Depths, is_embedding, is_head


def test_depth_runs_from_the_first_layer_to_the_last() -> None:
    depths = Depths([f"model.layers.{n}.w" for n in (2, 3, 6)] + ["h.9", "h.x.1", "h.x.3"])
    assert [depths.of(f"model.layers.{n}.w") for n in (2, 3, 6)] == [0, 0.25, 1]
    assert (depths.of("h.9"), depths.of("h.x.1")) == (1, 0)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "norm.weight", "lm_head"])
def test_what_has_no_layer_lies_at_the_first(name: str) -> None:
    assert Depths([name, "h.0", "h.1"]).of(name) == 0


def test_names_of_embeddings_and_heads() -> None:
    assert all(map(is_embedding, ["a.embed_tokens.weight", "wte.weight", "h.wpe", "embeddings.w"]))
    assert not any(map(is_embedding, ["wten.weight", "a.mlp"]))
    assert is_head("lm_head.weight")
    assert not is_head("attn.heads")
