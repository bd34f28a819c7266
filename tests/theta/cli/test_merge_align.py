"""``theta merge --align``: models from different starts, and permuted copies recovered exactly."""

import json
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, orphan, tree
from theta.alignment import Spec, apply, recognised, sizes
from theta.merge import Recipe, read_recipe
from theta_store.ids import BlobId

Tensors = dict[str, NDArray[np.float32]]
Shapes = dict[str, tuple[int, ...]]
HEADS = 2
MLP: Shapes = {
    "fc1.weight": (7, 5),
    "fc1.bias": (7,),
    "fc2.weight": (6, 7),
    "fc2.bias": (6,),
    "fc10.weight": (3, 6),
}
LLAMA: Shapes = {
    "lm_head.weight": (9, 8),
    "model.embed_tokens.weight": (9, 8),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.mlp.down_proj.weight": (8, 6),
    "model.layers.0.mlp.gate_proj.weight": (6, 8),
    "model.layers.0.mlp.up_proj.weight": (6, 8),
    "model.layers.0.self_attn.k_proj.weight": (8, 8),
    "model.layers.0.self_attn.o_proj.weight": (8, 8),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.v_proj.weight": (8, 8),
    "model.norm.weight": (8,),
}
ENCODER: Shapes = {
    "body.layers.0.linear1.weight": (6, 8),
    "body.layers.0.linear2.weight": (8, 6),
    "body.layers.0.norm1.weight": (8,),
    "body.layers.0.self_attn.in_proj_bias": (24,),
    "body.layers.0.self_attn.in_proj_weight": (24, 8),
    "body.layers.0.self_attn.out_proj.weight": (8, 8),
    "embed.weight": (9, 8),
}
RESNET: Shapes = {
    "bn1.running_mean": (4,),
    "conv1.weight": (4, 3, 3, 3),
    "fc.weight": (5, 6),
    "layer1.0.conv1.weight": (4, 4, 3, 3),
    "layer1.0.conv2.weight": (4, 4, 3, 3),
    "layer2.0.conv1.weight": (6, 4, 3, 3),
    "layer2.0.conv2.weight": (6, 6, 3, 3),
    "layer2.0.downsample.0.weight": (6, 4, 1, 1),
}
MODELS = {
    "mlp": MLP,
    "llama": LLAMA,
    "transformer-encoder": ENCODER,
    "resnet": RESNET,
}


def _values(shapes: Shapes, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _spec(tensors: Tensors) -> Spec:
    return recognised({name: each.shape for name, each in tensors.items()}, heads=HEADS)[1]


def _shuffled(tensors: Tensors, seed: int = 0) -> Tensors:
    """Return the same function with its units in another order."""
    spec, rng = _spec(tensors), np.random.default_rng(seed)
    return apply(spec, {n: rng.permutation(c) for n, c in sizes(spec, tensors).items()}, tensors)


def _keyed(tensors: Tensors) -> Tensors:
    return {name.replace(".", "__"): each for name, each in tensors.items()}


def _unrelated(shell: Shell, ours: Tensors, theirs: Tensors) -> None:
    """Let ``other`` be a model without a common ancestor; HEAD is ``main``."""
    shell.save(**_keyed(ours))
    shell("add", "m.safetensors")
    shell.commit("ours")
    shell("switch", "-c", "other")
    orphan(shell, "other", **_keyed(theirs))
    shell("switch", "main")


def _loaded(shell: Shell) -> Tensors:
    return dict(load_file(shell.folder / "m.safetensors"))


def _recipe(shell: Shell) -> Recipe:
    with shell.repo() as repo:
        blob = repo.store.commit(repo.resolve("HEAD")).recipe
        assert blob is not None
        return read_recipe(repo.store.read_bytes(BlobId(blob)))


@pytest.mark.parametrize("architecture", MODELS)
def test_a_permuted_copy_is_recovered_exactly(shell: Shell, architecture: str) -> None:
    ours = _values(MODELS[architecture])
    theirs = _shuffled(ours)
    assert any(not np.array_equal(ours[name], theirs[name]) for name in ours)
    _unrelated(shell, ours, theirs)
    before, bytes_ = tree(shell), (shell.folder / "m.safetensors").read_bytes()
    heads = "" if architecture in {"mlp", "resnet"} else f" heads={HEADS}"
    words = ("--align", f"rebasin{heads}", "-s", "average")
    said = shell("merge", "other", "--allow-unrelated", *words).err
    assert f"Aligned m.safetensors with ours as {architecture}" in said
    assert tree(shell) == before
    assert (shell.folder / "m.safetensors").read_bytes() == bytes_
    recipe = _recipe(shell)
    assert (recipe.align, recipe.aligned) == (f"rebasin{heads}", {"m.safetensors": architecture})
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_without_alignment_the_average_is_another_model(shell: Shell) -> None:
    ours = _values(MLP)
    _unrelated(shell, ours, _shuffled(ours))
    before = tree(shell)
    shell("merge", "other", "--allow-unrelated", "-s", "average")
    assert tree(shell) != before


def test_a_copy_that_was_trained_on_is_averaged_unit_by_unit(shell: Shell) -> None:
    """Two branches of one history; replay, and the recipe for another merge, align too."""
    ours = _values(MLP)
    moved = {name: each + np.float32(0.01) for name, each in ours.items()}
    shell.save(**_keyed(_values(MLP, 1)))
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", **_keyed(_shuffled(moved)))
    shell.commit("ours", **_keyed(ours))
    shell("merge", "rte", "--align", "rebasin=mlp", "-s", "average")
    merged = tree(shell)
    for name, each in _loaded(shell).items():
        expected = (ours[name].astype(np.float64) + moved[name]) / 2
        assert np.allclose(each, expected, rtol=0, atol=1e-6), name
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("reset", "--hard", "HEAD~1")
    shell("merge", "--recipe-from", "HEAD@{1}", "rte")
    assert tree(shell) == merged


def test_the_configuration_beside_the_model_says_how_many_heads(shell: Shell) -> None:
    ours = _values(LLAMA)
    (shell.folder / "config.json").write_text(json.dumps({"num_attention_heads": HEADS}))
    shell("add", "config.json")
    _unrelated(shell, ours, _shuffled(ours))
    before = tree(shell)
    shell("merge", "other", "--allow-unrelated", "--align", "rebasin", "-s", "average")
    assert tree(shell) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rebasin=vgg", "no architecture is called 'vgg'; there are mlp, llama, transformer"),
        ("rebasin=", "rebasin[=ARCHITECTURE] is expected"),
        ("hungarian", "rebasin[=ARCHITECTURE] is expected"),
        ("rebasin heads=0", "heads=N is expected, not 'heads=0'"),
        ("rebasin=llama", "the parameters are not those of the architecture llama"),
    ],
)
def test_what_cannot_be_aligned_is_one_error(shell: Shell, words: str, said: str) -> None:
    ours = _values(MLP)
    _unrelated(shell, ours, _shuffled(ours))
    before = shell("op", "--json").out
    error = shell("merge", "other", "--allow-unrelated", "--align", words, code=2).err
    assert said in " ".join(error.split())
    assert shell("op", "--json").out == before


def test_a_model_of_no_known_architecture(shell: Shell) -> None:
    _unrelated(shell, _values({"a": (3, 2)}), _values({"a": (3, 2)}, 1))
    error = shell("merge", "other", "--allow-unrelated", "--align", "rebasin", code=2).err
    assert "m.safetensors of other cannot be aligned" in error
    assert "no architecture that can be told (mlp, llama" in " ".join(error.split())


def test_attention_without_a_number_of_heads(shell: Shell) -> None:
    ours = _values(ENCODER)
    _unrelated(shell, ours, _shuffled(ours))
    error = shell("merge", "other", "--allow-unrelated", "--align", "rebasin", code=2).err
    assert "how many heads" in " ".join(error.split())


def test_other_shapes_and_values_that_are_not_finite(shell: Shell) -> None:
    ours = _values(MLP)
    wide = _values(MLP | {"fc1.weight": (7, 4)})
    _unrelated(shell, ours, wide)
    words = ("merge", "other", "--allow-unrelated", "--align", "rebasin")
    assert "different names or shapes" in shell(*words, code=2).err
    shell("switch", "other")
    nan = _shuffled(ours) | {"fc1.bias": np.full(7, np.nan, np.float32)}
    shell.commit("nan", **_keyed(nan))
    shell("switch", "main")
    assert "not finite" in shell(*words, code=2).err


def test_scipy_is_asked_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _values(MLP)
    _unrelated(shell, ours, _shuffled(ours))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    error = shell("merge", "other", "--allow-unrelated", "--align", "rebasin", code=2).err
    assert "aligning models needs scipy" in error
    assert "pip install 'theta-vcs[align]'" in error


def test_strategies_that_read_statistics_refuse(shell: Shell) -> None:
    """Statistics have the order of units that their model had."""
    ours = _values(MLP)
    _unrelated(shell, ours, {name: each + 1 for name, each in _shuffled(ours).items()})
    words = ("merge", "other", "--allow-unrelated", "--align", "rebasin")
    error = shell(*words, "-s", "fisher", code=2).err
    assert "fisher reads statistics" in error


def test_a_dry_run_aligns_and_writes_nothing(shell: Shell) -> None:
    ours = _values(MLP)
    _unrelated(shell, ours, {name: each + 1 for name, each in _shuffled(ours).items()})
    before = shell("op", "--json").out
    words = ("--allow-unrelated", "--align", "rebasin", "-s", "average", "--dry-run")
    answer = shell("merge", "other", *words, "--json").json
    assert {row["how"] for row in answer["resolved"]} == {"average"}
    assert shell("op", "--json").out == before


def test_what_ids_settle_is_not_aligned(shell: Shell) -> None:
    """Where ours did not change the model, theirs is taken as it is."""
    ours = _values(MLP)
    shell.save(**_keyed(ours))
    shell("add", "m.safetensors")
    shell.commit("first")
    theirs = _shuffled(ours)
    branch(shell, "rte", "main", **_keyed(theirs))
    (shell.folder / "note.txt").write_text("mine")
    shell("add", "note.txt")
    shell.commit("ours")
    shell("merge", "rte", "--align", "rebasin")
    assert _recipe(shell).aligned == {}
    for name, each in _loaded(shell).items():
        assert np.array_equal(each, theirs[name])
