"""``theta merge --import-mergekit``: the values are mergekit's own; what does not fit is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.theta.cli.conftest import Shell
from tests.theta.merge.yaml_models import model

GOLDEN = Path(__file__).parents[2] / "golden" / "strategies"
KEPT = json.loads((GOLDEN / "yaml.json").read_text())
# mergekit fuses multiplication and addition in sums; of ties every step is rounded as here.
BITWISE = ("ties",)


def _yaml(shell: Shell, name: str) -> str:
    """Put a configuration beside the model; return its name."""
    text = (GOLDEN / "yaml" / f"{name}.yml").read_text()
    (shell.folder / f"{name}.yml").write_text(text)
    return f"{name}.yml"


def _save(shell: Shell, name: str) -> None:
    save_file(model(name), shell.folder / "model.safetensors")


@pytest.fixture
def models(shell: Shell) -> Shell:
    """Branches ``base``, ``a``, ``b`` and ``c``; HEAD is ``a``."""
    _save(shell, "base")
    shell("add", "model.safetensors")
    shell.commit("base")
    shell("branch", "base")
    for name in ("c", "b", "a"):
        shell("switch", "-c", name, "base")
        _save(shell, name)
        shell("commit", "-am", name)
    return shell


def _merged(shell: Shell) -> dict[str, np.ndarray]:
    return load_file(shell.folder / "model.safetensors")


@pytest.mark.parametrize("name", ["linear", "ties", "slerp"])
def test_the_merge_is_the_one_that_mergekit_makes(models: Shell, name: str) -> None:
    models("merge", "--import-mergekit", _yaml(models, name), "--json")
    made = _merged(models)
    assert made.keys() == KEPT[name].keys()
    for parameter, text in KEPT[name].items():
        expected = np.frombuffer(bytes.fromhex(text), "<f4")
        found = made[parameter].ravel()
        if name in BITWISE:
            assert np.array_equal(found, expected), parameter
        apart = np.abs(found - expected).max() / np.abs(expected).max()
        assert apart <= 2e-7, parameter
    assert models("merge", "--replay", "HEAD", "--json").json["same"]


def test_it_does_not_matter_which_model_is_head(models: Shell) -> None:
    _yaml(models, "slerp")
    models("merge", "--import-mergekit", "slerp.yml")
    made = _merged(models)
    models("switch", "b")
    models("merge", "--import-mergekit", "slerp.yml", "--model", "a=a~1")
    other = _merged(models)
    assert all(np.array_equal(made[key], other[key]) for key in made)


def test_models_may_have_other_names_here(models: Shell) -> None:
    path = models.folder / _yaml(models, "ties")
    path.write_text(path.read_text().replace("model: b\n", "model: org/b-7b\n"))
    said = models("merge", "--import-mergekit", "ties.yml", code=4).err
    assert "org/b-7b" in said
    assert "--model org/b-7b=REVISION" in said
    models("merge", "--import-mergekit", "ties.yml", "--model", "org/b-7b=b")
    assert np.array_equal(
        _merged(models)["lm_head.weight"].ravel(),
        np.frombuffer(bytes.fromhex(KEPT["ties"]["lm_head.weight"]), "<f4"),
    )


def test_the_base_must_be_what_history_says(models: Shell) -> None:
    words = ("--import-mergekit", _yaml(models, "ties"), "--model", "base=c")
    assert "base_model base is not what the models come from" in models("merge", *words, code=2).err


def test_head_must_be_one_of_the_models(models: Shell) -> None:
    models("switch", "c")
    said = models("merge", "--import-mergekit", _yaml(models, "ties"), code=2).err
    assert "none of the models is HEAD" in said
    assert "theta switch a" in said


def test_a_model_that_others_descend_from_is_no_side(models: Shell) -> None:
    words = ("--import-mergekit", _yaml(models, "linear"), "--model", "c=base")
    assert "c is no side" in models("merge", *words, code=2).err


def test_layers_must_be_all_layers(models: Shell) -> None:
    path = models.folder / _yaml(models, "slerp")
    path.write_text(path.read_text().replace("[0, 3]", "[0, 2]"))
    said = models("merge", "--import-mergekit", "slerp.yml", code=2).err
    assert "the model has 3" in said


def test_another_dtype_is_not_given(models: Shell) -> None:
    path = models.folder / _yaml(models, "ties")
    path.write_text(path.read_text().replace("float32", "bfloat16"))
    said = models("merge", "--import-mergekit", "ties.yml").err
    assert "stays F32, not BF16" in said


def test_own_rules_come_behind(models: Shell) -> None:
    models("merge", "--import-mergekit", _yaml(models, "linear"), "--rule", "*mlp* ours")
    made = _merged(models)
    assert all(np.array_equal(made[key], model("a")[key]) for key in made if "mlp" in key)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("b", "--import-mergekit", "ties.yml"), 2, "no others can be named"),
        (("b", "--model", "x=b"), 2, "--import-mergekit"),
        (("--import-mergekit", "no.yml"), 4, "no.yml: No such file"),
        (("--import-mergekit", "model.safetensors"), 2, "no text"),
        (("--import-mergekit", "ties.yml", "--model", "x"), 2, "NAME=REVISION"),
        (("--import-mergekit", "ties.yml", "--model", "x=b"), 2, "has no model x"),
        (("--import-mergekit", "ties.yml", "--model", "b=a"), 2, "a and b are one commit"),
    ],
)
def test_what_makes_no_sense(models: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    _yaml(models, "ties")
    before = models("log", "--json").out
    assert said in models("merge", *words, code=code).err
    assert models("log", "--json").out == before
