"""Statistics are what their formulas say, whatever the batches; the module is left as it was."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from theta.statistics import Accumulator, Statistic, combined, compute
from theta_store.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


def _classifier(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 3)
    )


def _inputs(count: int = 12, *shape: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, *(shape or (5,)))


def _same(a: Statistic, b: Statistic, tolerance: float = 1e-5) -> None:
    assert (a.kind, a.examples, a.labels, list(a.values)) == (
        b.kind,
        b.examples,
        b.labels,
        list(b.values),
    )
    for name in a.values:
        np.testing.assert_allclose(a.values[name], b.values[name], rtol=tolerance, atol=1e-7)


def test_fisher_of_a_linear_softmax_has_a_closed_form() -> None:
    """∂ log p(y|x)/∂W is (1_y − p)xᵀ, so its expected square is p(1 − p)·x² in each place."""
    layer, inputs = nn.Linear(5, 3), _inputs()
    found = compute("fisher", layer, [inputs])
    chances = torch.softmax(layer(inputs), 1).detach()
    spread = chances * (1 - chances)
    wanted = (spread.T @ inputs**2 / len(inputs)).numpy()
    np.testing.assert_allclose(found.values["weight"], wanted, rtol=1e-4)
    np.testing.assert_allclose(found.values["bias"], spread.mean(0).numpy(), rtol=1e-4)
    assert found.values["weight"].dtype == np.float32
    assert (found.kind, found.examples, found.labels) == ("fisher", 12, "expected")
    both = np.concatenate([each.reshape(-1) for each in found.values.values()])
    assert found.norm == pytest.approx(float(np.linalg.norm(both)))


def test_fisher_with_the_labels_of_the_data() -> None:
    layer, inputs = nn.Linear(5, 3), _inputs()
    labels = torch.arange(12) % 3
    found = compute("fisher", layer, [(inputs, labels)], labels="data")
    wrong = (nn.functional.one_hot(labels) - torch.softmax(layer(inputs), 1)).detach()
    wanted = ((wrong**2).T @ inputs**2 / 12).numpy()
    np.testing.assert_allclose(found.values["weight"], wanted, rtol=1e-4)


def test_sampled_labels_are_right_on_average() -> None:
    layer, inputs = nn.Linear(5, 3), _inputs(4)
    many = [inputs] * 75
    found = compute("fisher", layer, many, examples=300, labels="sampled", seed=3)
    again = compute("fisher", layer, many, examples=300, labels="sampled", seed=3)
    _same(found, again, 0)
    exact = compute("fisher", layer, [inputs])
    np.testing.assert_allclose(found.values["weight"], exact.values["weight"], rtol=0.3, atol=0.03)


@pytest.mark.parametrize("kind", ["fisher", "gram"])
@pytest.mark.parametrize("batch", [1, 5, 12])
def test_batches_are_immaterial(kind: str, batch: int) -> None:
    model, inputs = _classifier(), _inputs()
    wanted = compute(kind, model, [inputs], examples=8)
    _same(compute(kind, model, inputs.split(batch), examples=8), wanted)
    assert wanted.examples == 8
    assert compute(kind, model, [inputs]).examples == 12
    assert (compute(kind, model, [inputs]).values["0.weight"] != wanted.values["0.weight"]).any()


@pytest.mark.parametrize("kind", ["fisher", "gram"])
def test_the_module_is_left_as_it_was(kind: str) -> None:
    model = _classifier().train()
    model[3].eval()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    compute(kind, model, [_inputs()])
    assert all((model.state_dict()[name] == each).all() for name, each in before.items())
    assert [module.training for module in model] == [True, True, True, False, True]
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model)
    with pytest.raises(RuntimeError):
        compute(kind, model, [_inputs(3, 7)])
    assert model.training
    assert not any(module._forward_pre_hooks for module in model)


def test_grams_are_those_of_each_layers_inputs() -> None:
    model, inputs = _classifier().eval(), _inputs()
    found = compute("gram", model, [inputs])
    assert list(found.values) == ["0.weight", "4.weight"]
    hidden = model[:4](inputs).detach()
    for name, rows in (("0.weight", inputs), ("4.weight", hidden)):
        wanted = (rows.T @ rows / len(rows)).numpy()
        np.testing.assert_allclose(found.values[name], wanted, rtol=1e-4, atol=1e-6)


class Tokens(nn.Module):
    """Tokens to logits for each; answers as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        block = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.body = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> "Tokens":
        padding = None if attention_mask is None else attention_mask == 0
        self.logits = self.head(self.body(self.embed(input_ids), src_key_padding_mask=padding))
        return self


def test_language_models_with_padding_and_tied_weights() -> None:
    torch.manual_seed(0)
    model, tokens = Tokens(), torch.arange(12).reshape(3, 4) % 7
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    batch = {"input_ids": tokens, "attention_mask": mask, "labels": tokens}
    for labels in ("sampled", "data"):
        found = compute("fisher", model, [batch], labels=labels)
        assert found.values.keys() == dict(model.named_parameters(remove_duplicate=False)).keys()
        np.testing.assert_array_equal(found.values["head.weight"], found.values["embed.weight"])
        assert found.norm > 0
    other = {**batch, "input_ids": torch.where(mask.bool(), tokens, 0)}
    other["labels"] = torch.where(mask.bool(), tokens, -100)
    _same(*(compute("fisher", model, [b], labels="data") for b in (batch, other)))
    grams = [compute("gram", model, [each]) for each in (batch, other)]
    _same(*grams, 1e-4)
    assert {"head.weight", "body.layers.0.self_attn.in_proj_weight"} <= grams[0].values.keys()
    rows = model.embed(tokens)[mask.bool()].detach()
    wanted = (rows.T @ rows / len(rows)).numpy()
    seen = grams[0].values["body.layers.0.self_attn.in_proj_weight"]
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-6)


def test_only_what_is_chosen_and_trained_has_a_statistic() -> None:
    model = _classifier()
    model[0].weight.requires_grad = False
    assert "0.weight" not in compute("fisher", model, [_inputs()]).values
    for kind in ("fisher", "gram"):
        found = compute(kind, model, [_inputs()], choose=lambda name: name == "4.weight")
        assert list(found.values) == ["4.weight"]


@given(st.integers(1, 9), st.integers(1, 9))
def test_statistics_of_two_halves_are_that_of_the_whole(left: int, right: int) -> None:
    chooser = np.random.default_rng(left * 10 + right)
    rows = chooser.standard_normal((left + right, 4))
    parts = []
    for some in (rows[:left], rows[left:], rows):
        collected = Accumulator("gram")
        for row in some:
            collected.add("w", np.outer(row, row), 1)
        parts.append(collected.result(len(some)))
    _same(combined(parts[:2]), parts[2])


def test_what_makes_no_statistic_is_refused() -> None:
    model, inputs = _classifier(), _inputs()
    with pytest.raises(UsageError, match="nothing was seen"):
        compute("gram", nn.ReLU(), [inputs])
    with pytest.raises(UsageError, match="no label for each"):
        compute("fisher", model, [inputs], labels="data")
    with pytest.raises(UsageError, match="use labels='sampled'"):
        compute("fisher", nn.Linear(5, 3), [_inputs(2, 4, 5)])
    with pytest.raises(UsageError, match="not finite"):
        compute("gram", model, [inputs * torch.inf])
    one, other = (compute(kind, model, [inputs]) for kind in ("fisher", "gram"))
    with pytest.raises(UsageError, match="different kinds"):
        combined([one, other])


def test_torch_is_imported_when_it_is_needed() -> None:
    import subprocess
    import sys

    code = "import sys, theta.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
