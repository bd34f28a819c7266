"""``theta apply``: a PEFT adapter into a checkpoint of the workspace."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.theta.cli.conftest import Shell
from tests.theta.test_adapter import write

ROWS, COLUMNS, RANK = 256, 512, 8
NAMES = [f"layers.{layer}.q_proj.weight" for layer in range(2)]


@pytest.fixture
def base(shell: Shell) -> dict[str, torch.Tensor]:
    """A committed bf16 model of two matrices and a norm, and an adapter of rank 8 for it."""
    torch.manual_seed(0)
    made = {name: torch.randn(ROWS, COLUMNS).mul(0.02).bfloat16() for name in NAMES}
    made["norm.weight"] = torch.ones(COLUMNS)
    save_file(made, shell.folder / "m.safetensors")
    shell("add", "m.safetensors")
    shell("commit", "-m", "base")
    write(shell.folder / "lora", adapter(), r=RANK, base_model_name_or_path="acme/tiny")
    return made


def adapter(names: list[str] = NAMES) -> dict[str, torch.Tensor]:
    made = {}
    for number, name in enumerate(names):
        torch.manual_seed(number + 1)
        key = f"base_model.model.{name.removesuffix('.weight')}"
        made[f"{key}.lora_A.weight"] = torch.randn(RANK, COLUMNS) * 0.02
        made[f"{key}.lora_B.weight"] = torch.randn(ROWS, RANK) * 0.02
    return made


def _wanted(base: torch.Tensor, number: int, scale: float) -> torch.Tensor:
    factors = adapter()
    key = f"base_model.model.layers.{number}.q_proj"
    product = factors[f"{key}.lora_B.weight"].double() @ factors[f"{key}.lora_A.weight"].double()
    return (base.double() + scale * product).bfloat16()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_update_is_added_and_rounded_once(
    shell: Shell, base: dict[str, torch.Tensor], scale: float
) -> None:
    shell("apply", "lora", "--scale", str(scale))
    made = load_file(shell.folder / "m.safetensors")
    for number, name in enumerate(NAMES):
        # Of the factors' last bits the form keeps 2^-25 or so: a value in a thousand rounds apart.
        apart = made[name] != _wanted(base[name], number, scale)
        assert apart.float().mean() < 0.001
        assert (made[name] != base[name]).float().mean() > 0.5
    assert torch.equal(made["norm.weight"], base["norm.weight"])


def test_the_commit_keeps_the_factors_alone(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    answer = shell("apply", "lora", "--json").json
    assert (answer["file"], answer["params"]) == ("m.safetensors", NAMES)
    assert (answer["rank"], answer["base_model"]) == (RANK, "acme/tiny")
    assert answer["stored_bytes"] < 0.1 * 2 * ROWS * COLUMNS * 2 + 4 * 1024
    shell("commit", "-m", "LoRA")
    (row,) = shell("show", f"HEAD::{NAMES[0]}", "--storage", "--json").json["storage"]
    assert (row["predictor"], row["rank"]) == ("low-rank", RANK)
    data = (shell.folder / "m.safetensors").read_bytes()
    (shell.folder / "m.safetensors").unlink()
    shell("gc", "--now")
    shell("restore", "m.safetensors")
    assert (shell.folder / "m.safetensors").read_bytes() == data
    assert shell("fsck", "--json").json["ok"]


def test_undo_brings_back_what_was_there(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    base["norm.weight"] = torch.zeros(COLUMNS)
    save_file(base, shell.folder / "m.safetensors")
    data = (shell.folder / "m.safetensors").read_bytes()
    shell("apply", "lora")
    shell("undo")
    assert (shell.folder / "m.safetensors").read_bytes() == data


def test_a_dry_run_says_it_and_changes_nothing(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    data = (shell.folder / "m.safetensors").read_bytes()
    out = shell("apply", "lora", "--dry-run").out
    assert (
        out == "would add a LoRA of rank 8, made for acme/tiny to 2 parameters of m.safetensors\n"
    )
    assert (shell.folder / "m.safetensors").read_bytes() == data
    assert len(shell("op", "log", "--json").json["operations"]) == 1


def test_where_several_checkpoints_are_tracked_one_is_named(
    shell: Shell, base: dict[str, torch.Tensor]
) -> None:
    save_file(base, shell.folder / "other.safetensors")
    shell("add", "other.safetensors")
    assert "--to FILE" in shell("apply", "lora", code=4).err
    shell("apply", "lora", "--to", "other.safetensors")
    assert torch.equal(load_file(shell.folder / "m.safetensors")[NAMES[0]], base[NAMES[0]])
    assert not torch.equal(load_file(shell.folder / "other.safetensors")[NAMES[0]], base[NAMES[0]])


def test_a_sharded_model_takes_it(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    folder = shell.folder / "big"
    folder.mkdir()
    places = dict(zip(NAMES, ("s1.safetensors", "s2.safetensors"), strict=True))
    for name, file in places.items():
        save_file({name: base[name]}, folder / file)
    weight_map = ", ".join(f'"{name}": "{file}"' for name, file in places.items())
    (folder / "m.safetensors.index.json").write_text(
        f'{{"metadata": {{}}, "weight_map": {{{weight_map}}}}}'
    )
    shell("add", "big")
    shell("apply", "lora", "--to", "big")
    for name, file in places.items():
        assert not torch.equal(load_file(folder / file)[name], base[name])


def test_modules_that_were_trained_whole_take_their_place(
    shell: Shell, base: dict[str, torch.Tensor]
) -> None:
    whole = {"base_model.model.norm.weight": torch.full((COLUMNS,), 3.0)}
    write(shell.folder / "lora", adapter() | whole)
    shell("apply", "lora")
    assert load_file(shell.folder / "m.safetensors")["norm.weight"][0] == 3


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (adapter(["layers.9.q_proj.weight"]), "another model"),
        ({k: v[:, :100] if "lora_A" in k else v for k, v in adapter().items()}, "256×512"),
        ({"base_model.model.norm.weight": torch.ones(3)}, "norm.weight is"),
    ],
)
def test_an_adapter_that_does_not_fit_changes_nothing(
    shell: Shell, base: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor], words: str
) -> None:
    write(shell.folder / "lora", tensors)
    data = (shell.folder / "m.safetensors").read_bytes()
    assert words in shell("apply", "lora", code=2).err
    assert (shell.folder / "m.safetensors").read_bytes() == data


def test_no_adapter_and_no_number(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    assert "holds no PEFT adapter" in shell("apply", str(Path("nowhere")), code=4).err
    shell("apply", "lora", "--scale", "inf", code=2)


def test_a_layer_that_comes_with_the_adapter_has_its_update_on_top(
    shell: Shell, base: dict[str, torch.Tensor]
) -> None:
    own = torch.full((ROWS, COLUMNS), 3.0).bfloat16()
    key = f"base_model.model.{NAMES[0].removesuffix('.weight')}.base_layer.weight"
    write(shell.folder / "lora", {**adapter(), key: own}, lora_alpha=RANK)
    shell("apply", "lora")
    made = load_file(shell.folder / "m.safetensors")[NAMES[0]]
    assert (made != _wanted(own, 0, 1.0)).float().mean() < 0.001
    assert not torch.equal(made, own)


def test_what_takes_the_place_of_others_must_fit_them_before_anything_is_stored(
    shell: Shell, base: dict[str, torch.Tensor]
) -> None:
    write(shell.folder / "lora", {"base_model.model.norm.weight": torch.ones(COLUMNS + 1)})
    for words in (["--dry-run"], []):
        assert "norm.weight is F32 512" in shell("apply", "lora", *words, code=2).err


def test_gc_leaves_what_undo_and_redo_need(shell: Shell, base: dict[str, torch.Tensor]) -> None:
    base["norm.weight"] = torch.zeros(COLUMNS)
    save_file(base, shell.folder / "m.safetensors")
    mine = (shell.folder / "m.safetensors").read_bytes()
    shell("apply", "lora")
    applied = (shell.folder / "m.safetensors").read_bytes()
    for verb, data in (("undo", mine), ("redo", applied), ("undo", mine)):
        shell("gc")
        shell(verb)
        assert (shell.folder / "m.safetensors").read_bytes() == data
    assert shell("fsck", "--json").json["ok"]


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_an_adapter_with_nan_is_refused_before_anything_is_done(
    shell: Shell, base: dict[str, torch.Tensor], words: list[str]
) -> None:
    tensors = adapter()
    next(iter(tensors.values()))[0, 0] = float("nan")
    write(shell.folder / "lora", tensors, r=RANK)
    data = (shell.folder / "m.safetensors").read_bytes()
    assert "NaN" in shell("apply", "lora", *words, code=2).err
    assert (shell.folder / "m.safetensors").read_bytes() == data
