"""SMEAR: one merged expert for each example, and the same as merging by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from theta.nn import SoftMergedExperts
from theta.strategies.arrays import merge_arrays
from theta.strategies.linear import Average, LinearSum
from theta_store.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH = 6


class Expert(nn.Module):
    """A feed-forward block with a norm, a buffer to mix, and one that is no number to mix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, 8)
        self.second = nn.Linear(8, WIDTH, bias=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.register_buffer("shift", torch.randn(WIDTH))
        self.register_buffer("order", torch.arange(WIDTH))
        self.register_buffer("once", torch.ones(1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.first(self.norm(inputs)[..., self.order]))
        return (inputs + self.second(hidden) + self.shift) * self.once


def _experts(count: int = 4, seed: int = 0) -> list[Expert]:
    torch.manual_seed(seed)
    return [Expert() for _ in range(count)]


def _soft(experts: Sequence[Expert], **options: float) -> SoftMergedExperts:
    torch.manual_seed(9)
    return SoftMergedExperts(experts[0], experts, WIDTH, **options)


def _inputs(*shape: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(*(shape or (5, 3)), WIDTH)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 4, 3)])
def test_a_one_hot_distribution_runs_that_expert(shape: tuple[int, ...]) -> None:
    experts, inputs = _experts(), _inputs(*shape)
    soft = _soft(experts).eval()
    for which, expert in enumerate(experts):
        chances = torch.eye(4)[[which] * len(inputs)]
        torch.testing.assert_close(soft.answer(inputs, chances), expert(inputs))
        torch.testing.assert_close(soft.merged(chances[0])["first.weight"], expert.first.weight)


def test_each_example_has_its_own_expert() -> None:
    experts, inputs = _experts(), _inputs()
    which = [3, 0, 2, 1, 0]
    found = _soft(experts).answer(inputs, torch.eye(4)[which])
    for place, expert in enumerate(which):
        torch.testing.assert_close(found[place], experts[expert](inputs[[place]])[0])


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_a_fixed_distribution_is_the_merge_by_it(parts: list[float]) -> None:
    chances = [part / sum(parts) for part in parts]
    experts, inputs = _experts(), _inputs()
    soft = _soft(experts).eval()
    merged = soft.merged(chances)
    assert merged.keys() == experts[0].state_dict().keys()
    for name in ("first.weight", "norm.bias", "shift"):
        sides = [each.state_dict()[name].numpy() for each in experts]
        wanted = merge_arrays(LinearSum(weight=tuple(chances)), sides)
        np.testing.assert_allclose(merged[name].numpy(), wanted, rtol=1e-5, atol=1e-6)
    static = Expert()
    static.load_state_dict(merged)
    with torch.no_grad():
        answer = soft.answer(inputs, torch.tensor([chances] * len(inputs)))
        torch.testing.assert_close(answer, static(inputs), rtol=1e-4, atol=1e-5)


def test_the_uniform_distribution_is_the_average() -> None:
    experts = _experts()
    merged = _soft(experts).merged([0.25] * 4)
    for name in ("first.weight", "second.weight", "shift"):
        sides = [each.state_dict()[name].numpy() for each in experts]
        wanted = merge_arrays(Average(), sides)
        np.testing.assert_allclose(merged[name].numpy(), wanted, rtol=1e-6, atol=1e-7)


def test_gradients_reach_the_router_and_all_experts() -> None:
    soft = _soft(_experts())
    soft(_inputs()).square().sum().backward()
    for name, parameter in soft.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert not soft.experts.shift.requires_grad


def test_the_router_reads_the_mean_over_tokens_that_are_no_padding() -> None:
    soft, inputs = _soft(_experts()), _inputs()
    chances = soft.chances(inputs)
    torch.testing.assert_close(chances.sum(1), torch.ones(5))
    mean = nn.functional.layer_norm(inputs.mean(1), (WIDTH,))
    torch.testing.assert_close(chances, torch.softmax(mean @ soft.router.weight.T, 1))
    mask = torch.tensor([[1, 1, 0]] * 5)
    torch.testing.assert_close(soft.chances(inputs, mask), soft.chances(inputs[:, :2]))
    assert soft.chances(inputs, torch.zeros(5, 3)).isfinite().all()


def test_dropout_leaves_experts_out_in_training_only() -> None:
    soft, inputs = _soft(_experts(), dropout=0.5), _inputs(400, 1)
    chances = soft.chances(inputs)
    thinned = soft._thinned(chances)
    torch.testing.assert_close(thinned.sum(1), torch.ones(400))
    left_out = (thinned == 0).float().mean()
    assert 0.35 < left_out < 0.55
    kept = thinned[0] > 0
    torch.testing.assert_close(
        thinned[0][kept] / thinned[0].sum(), chances[0][kept] / chances[0][kept].sum()
    )
    assert not torch.equal(soft(inputs), soft(inputs))
    soft.eval()
    assert torch.equal(soft(inputs), soft(inputs))
    torch.testing.assert_close(soft(inputs), soft.answer(inputs, chances))


def test_state_dicts_tied_weights_and_saving() -> None:
    experts = _experts()
    soft = SoftMergedExperts(experts[0], [each.state_dict() for each in experts], WIDTH)
    again = _soft(list(reversed(experts)))
    again.load_state_dict(soft.state_dict())
    inputs = _inputs()
    torch.testing.assert_close(again.eval()(inputs), soft.eval()(inputs))
    assert soft.state_dict()["experts.first.weight"].shape == (4, 8, WIDTH)
    tied = [nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(2)]
    for each in tied:
        each[2].weight = each[0].weight
    soft = SoftMergedExperts(tied[0], tied, WIDTH)
    assert soft.experts[0].weight is soft.experts[2].weight
    torch.testing.assert_close(
        soft.answer(inputs[:, 0], torch.eye(2)[[1] * 5]), tied[1](inputs[:, 0])
    )
    assert soft.merged([0, 1]).keys() == tied[0].state_dict().keys()
    torch.testing.assert_close(soft.merged([0, 1])["2.weight"], tied[1][2].weight)


def test_the_template_and_the_experts_are_left_as_they_are() -> None:
    experts = _experts()
    before = [each.first.weight.clone() for each in experts]
    soft = _soft(experts)
    with torch.no_grad():
        soft.experts.first.weight.add_(1)
    for expert, was in zip(experts, before, strict=True):
        assert torch.equal(expert.first.weight, was)


def test_what_does_not_fit_is_refused() -> None:
    experts = _experts(2)
    with pytest.raises(UsageError, match="no experts"):
        SoftMergedExperts(experts[0], [], WIDTH)
    with pytest.raises(UsageError, match="other names or shapes"):
        SoftMergedExperts(experts[0], [nn.Linear(6, 6)], WIDTH)
    with pytest.raises(UsageError, match="dropout"):
        _soft(experts, dropout=1.0)
    with pytest.raises(UsageError, match="chances for 2 experts"):
        _soft(experts).merged([1.0])
    experts[1].order += 1
    with pytest.raises(UsageError, match="order differs"):
        _soft(experts)


def test_a_template_on_the_meta_device_takes_that_of_the_experts() -> None:
    experts = _experts()
    with torch.device("meta"):
        template = Expert()
    template.once = torch.ones(1)
    soft, wanted = SoftMergedExperts(template, experts, WIDTH).eval(), _soft(experts).eval()
    assert {each.device.type for each in soft.parameters()} == {"cpu"}
    chances, inputs = torch.full((5, 4), 0.25), _inputs()
    torch.testing.assert_close(soft.answer(inputs, chances), wanted.answer(inputs, chances))


def test_a_module_of_the_meta_device_alone_stays_there() -> None:
    with torch.device("meta"):
        experts = [nn.Linear(WIDTH, 4) for _ in range(2)]
    soft = SoftMergedExperts(experts[0], experts, WIDTH)
    assert {each.device.type for each in soft.parameters()} == {"meta"}


def test_what_has_no_values_is_refused() -> None:
    experts = _experts()
    with torch.device("meta"):
        template = Expert()
    with pytest.raises(UsageError, match="once has no values"):
        SoftMergedExperts(template, experts, WIDTH)
    with pytest.raises(UsageError, match="has no values"):
        SoftMergedExperts(experts[0], [experts[0], template], WIDTH)


def test_experts_without_parameters_go_where_modules_go() -> None:
    with torch.device("meta"):
        soft = SoftMergedExperts(nn.ReLU(), [nn.ReLU(), nn.ReLU()], WIDTH)
    assert soft.router.weight.is_meta
