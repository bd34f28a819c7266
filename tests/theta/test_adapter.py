"""``adapter``: PEFT's folders, read as what they say of a model's parameters."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from theta.adapter import open_adapter
from theta_store.array_source import ArraySource
from theta_store.errors import MalformedFile, UnknownFile, UsageError

A, B = torch.randn(4, 24), torch.randn(16, 4)
KEY = "base_model.model.model.layers.0.q_proj"
NAME = "model.layers.0.q_proj.weight"


def write(folder: Path, tensors: Mapping[str, Tensor], **config: Any) -> Path:
    """Write an adapter as PEFT does."""
    folder.mkdir(exist_ok=True)
    save_file(
        {name: t.clone() for name, t in tensors.items()}, folder / "adapter_model.safetensors"
    )
    rank = next((t.shape[0] for name, t in tensors.items() if "lora_A" in name), 4)
    known = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, **config}
    (folder / "adapter_config.json").write_text(json.dumps(known))
    return folder


def _pair(inner: Tensor = A, outer: Tensor = B, key: str = KEY) -> dict[str, Tensor]:
    return {f"{key}.lora_A.weight": inner, f"{key}.lora_B.weight": outer}


def _product(folder: Path, name: str = NAME) -> np.ndarray:
    with open_adapter(folder) as adapter:
        left, right = adapter.added[name].factors()
        assert (left.shape[0], right.shape[1]) == adapter.added[name].shape
    return _values(left) @ _values(right)


def _values(factor: ArraySource) -> np.ndarray:
    return factor.plain.view("<f4").reshape(factor.shape)


def test_the_update_is_scaled_by_alpha_over_rank(tmp_path: Path) -> None:
    made = _product(write(tmp_path / "a", _pair()))
    assert np.allclose(made, 2 * (B @ A).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q_proj": 4}}, 1.0),
        ({"alpha_pattern": {"^model.layers.0.q_proj": 2, "q_proj": 4}}, 0.5),
        ({"alpha_pattern": {"k_proj": 4, "^q_proj": 16}}, 2.0),
    ],
)
def test_what_else_scales_it(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    made = _product(write(tmp_path / "a", _pair(), **config))
    assert np.allclose(made, scale * (B @ A).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        {"r": 0},
        {"r": -4},
        {"r": 64},
        {"rank_pattern": {"q_proj": 8}},
        {"rank_pattern": {KEY[17:]: 2}},
    ],
)
def test_factors_of_another_rank_than_the_configuration_says(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with (
        pytest.raises(MalformedFile, match=r"q_proj has rank 4, its adapter_config\.json says"),
        open_adapter(write(tmp_path / "a", _pair(), **config)),
    ):
        pass


@pytest.mark.parametrize(
    "config",
    [
        {"r": None},
        {"r": 64, "rank_pattern": {"k_proj": 8, "q_proj": 4}},
        # A stranger's regular expression is not run.
        {"r": 64, "rank_pattern": {r".*\.q_(a|b)+": 4}},
    ],
)
def test_a_rank_of_its_own(tmp_path: Path, config: dict[str, Any]) -> None:
    made = _product(write(tmp_path / "a", _pair(), **config))
    assert np.allclose(made, 2 * (B @ A).numpy(), atol=1e-5)


def test_weights_of_inputs_by_outputs_and_embeddings_get_the_transpose(tmp_path: Path) -> None:
    made = _product(write(tmp_path / "a", _pair(), fan_in_fan_out=True))
    assert np.allclose(made, 2 * (B @ A).numpy().T, atol=1e-5)
    embedding = {f"{KEY}.lora_embedding_A": A, f"{KEY}.lora_embedding_B": B}
    made = _product(write(tmp_path / "b", embedding))
    assert np.allclose(made, 2 * (B @ A).numpy().T, atol=1e-5)


def test_a_convolution_is_a_matrix_of_its_kernels(tmp_path: Path) -> None:
    inner, outer = torch.randn(4, 3, 2, 2), torch.randn(16, 4, 1, 1)
    made = _product(write(tmp_path / "a", _pair(inner=inner, outer=outer)))
    assert np.allclose(made, 2 * (outer.reshape(16, 4) @ inner.reshape(4, 12)).numpy(), atol=1e-5)


def test_older_names_half_precision_and_what_is_kept_whole(tmp_path: Path) -> None:
    tensors = {
        f"{KEY}.lora_A.default.weight": A.bfloat16(),
        f"{KEY}.lora_B.default.weight": B.half(),
        f"{KEY}.base_layer.bias": torch.ones(16),
        "base_model.model.score.weight": torch.ones(2, 16),
    }
    folder = write(tmp_path / "a", tensors)
    made = _product(folder)
    assert np.allclose(made, 2 * (B.half().float() @ A.bfloat16().float()).numpy(), atol=1e-4)
    with open_adapter(folder) as adapter:
        assert set(adapter.replaced) == {"model.layers.0.q_proj.bias", "score.weight"}


def test_torchs_own_files_are_read_without_running_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", _pair())
    (folder / "adapter_model.safetensors").unlink()
    torch.save(_pair(), folder / "adapter_model.bin")
    assert np.allclose(_product(folder), 2 * (B @ A).numpy(), atol=1e-5)


@pytest.mark.parametrize("prefix", ["model.", "", "transformer.model."])
def test_a_checkpoint_may_have_modules_fewer_or_more(tmp_path: Path, prefix: str) -> None:
    folder = write(tmp_path / "a", _pair() | _pair(key=KEY.replace("q_proj", "k_proj")))
    names = {f"{prefix}layers.0.{kind}_proj.weight" for kind in "qkv"}
    with open_adapter(folder) as adapter:
        placed = adapter.placed(names)
    assert placed[NAME] == f"{prefix}layers.0.q_proj.weight"


def test_another_models_adapter_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", _pair(), base_model_name_or_path="acme/other")
    with open_adapter(folder) as adapter, pytest.raises(UsageError, match="another model") as told:
        adapter.placed({"model.layers.0.k_proj.weight"})
    assert told.value.hint == "it was made for acme/other"


@pytest.mark.parametrize(
    ("tensors", "config", "error", "words"),
    [
        (_pair(), {"peft_type": "IA3"}, UsageError, "type IA3"),
        (_pair(), {"use_dora": True}, UsageError, "DoRA"),
        (_pair(), {"lora_bias": True}, UsageError, "bias"),
        (_pair(), {"layer_replication": [[0, 4]]}, UsageError, "layer_replication"),
        (_pair(), {"alpha_pattern": {"(a+)+$": 4}}, UsageError, "no plain name"),
        (_pair(), {"lora_alpha": "many"}, MalformedFile, "lora_alpha"),
        ({f"{KEY}.lora_A.weight": A}, {}, MalformedFile, "only one factor"),
        (_pair(outer=torch.ones(16, 5)), {}, MalformedFile, "do not fit"),
        (_pair(inner=torch.ones(4, 8, dtype=torch.int32)), {}, UsageError, "no floating-point"),
        ({f"{KEY}.lora_magnitude_vector": A}, {}, UsageError, "magnitude"),
        (_pair(outer=torch.ones(16, 4, 3)), {}, MalformedFile, "do not fit"),
        (_pair(torch.ones(0, 8), torch.ones(16, 0)), {}, UsageError, "rank 0"),
        (_pair(torch.ones(600, 8), torch.ones(16, 600)), {}, UsageError, "rank 600"),
        ({}, {}, UsageError, "no tensors"),
        (_pair(), {"init_lora_weights": "pissa_niter_4"}, UsageError, "pissa"),
        (_pair(), {"alora_invocation_tokens": [1]}, UsageError, "wakes"),
        (_pair(), {"target_parameters": ["w"]}, UsageError, "no module"),
        (
            {**_pair(), f"{KEY}.lora_A.other.weight": A},
            {},
            UsageError,
            "several adapters",
        ),
    ],
)
def test_what_cannot_be_applied_is_named(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    config: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    folder = write(tmp_path / "a", tensors, **config)
    with pytest.raises(error, match=words), open_adapter(folder):
        pass


def test_a_folder_without_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(UnknownFile, match="adapter_config"), open_adapter(tmp_path):
        pass
    folder = write(tmp_path / "a", _pair())
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UnknownFile, match="adapter_model"), open_adapter(folder):
        pass


@pytest.mark.parametrize(("value", "alpha"), [(np.nan, 8), (np.inf, 8), (1.0, 1e300)])
def test_factors_that_are_no_numbers_are_refused(
    tmp_path: Path, value: float, alpha: float
) -> None:
    folder = write(tmp_path / "a", _pair(torch.full((4, 24), value)), lora_alpha=alpha)
    with open_adapter(folder) as adapter, pytest.raises(UsageError, match="NaN or infinity"):
        adapter.added[NAME].factors()


def test_components_of_any_balance_are_kept_alike(tmp_path: Path) -> None:
    """Of a row as much is kept as of its largest element: they are made alike first."""
    uneven = torch.tensor([1e3, 1.0, 1e-3, 1.0])
    folder = write(tmp_path / "a", _pair(A * uneven[:, None], B / uneven))
    with open_adapter(folder) as adapter:
        left, right = map(_values, adapter.added[NAME].factors())
    ratio = np.abs(left).max(axis=0) / np.abs(right).max(axis=1)
    assert ((ratio > 0.4) & (ratio < 2.5)).all()
    assert np.allclose(left @ right, 2 * (B @ A).numpy(), atol=1e-5)


def test_names_of_a_stranger_neither_take_for_ever_nor_reach_the_terminal(tmp_path: Path) -> None:
    long = _pair(key="base_model.model." + "\x1b[2J." * 50_000 + "q")
    folder = write(tmp_path / "a", long, base_model_name_or_path="x\x1b[2J\x07")
    started = time.monotonic()
    with open_adapter(folder) as adapter, pytest.raises(UsageError) as told:
        adapter.placed({"q.weight"})
    assert time.monotonic() - started < 20
    assert "\x1b" not in told.value.message + told.value.hint
    assert len(told.value.message) < 300


def test_two_updates_of_one_parameter_are_refused(tmp_path: Path) -> None:
    pairs = _pair(key="base_model.model.a.proj") | _pair(key="base_model.model.b.proj")
    folder = write(tmp_path / "a", pairs)
    with open_adapter(folder) as adapter, pytest.raises(UsageError, match="another model"):
        adapter.placed({"proj.weight"})


def test_a_configuration_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", _pair())
    (folder / "adapter_config.json").write_text('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(MalformedFile), open_adapter(folder):
        pass
