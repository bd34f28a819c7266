"""What theta does with modules and checkpoints that live on a GPU. Needs one; CI has none."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from theta.nn import SoftMergedExperts
from theta.repo import Author, Repo
from theta.statistics import compute
from theta.statistics.statistic import Kind, Labels

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees"),
]
WIDTH, EXPERTS = 32, 4


def _expert(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))


def _inputs(*shape: int) -> Tensor:
    torch.manual_seed(7)
    return torch.randn(*shape, WIDTH)


def _trained_once(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(_inputs(8).cuda().to(next(model.parameters()).dtype)).square().mean().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("kind", "labels"), [("fisher", "expected"), ("fisher", "data"), ("gram", "expected")]
)
def test_a_statistic_is_that_of_the_same_model_on_the_cpu(kind: Kind, labels: Labels) -> None:
    model, inputs = _expert(0), _inputs(12)
    batch = (inputs, torch.arange(12) % WIDTH)
    wanted = compute(kind, model, [batch], labels=labels)
    found = compute(kind, model.cuda(), [batch], labels=labels)
    assert list(found.values) == list(wanted.values)
    for name, values in wanted.values.items():
        np.testing.assert_allclose(found.values[name], values, rtol=5e-3, atol=1e-4)
    assert all(each.is_cuda for each in model.parameters())


def test_drawn_labels_are_repeatable_there() -> None:
    model, inputs = _expert(0).cuda().bfloat16(), _inputs(12).bfloat16()
    first, second = (compute("fisher", model, [inputs], labels="sampled", seed=3) for _ in "ab")
    for name, values in first.values.items():
        np.testing.assert_array_equal(second.values[name], values)


@pytest.mark.parametrize("moved", ["experts", "module"])
def test_soft_merged_experts_answer_as_on_the_cpu(moved: str) -> None:
    experts, inputs = [_expert(seed) for seed in range(EXPERTS)], _inputs(5, 3)
    torch.manual_seed(9)
    wanted = SoftMergedExperts(experts[0], experts, WIDTH).eval()
    gates = wanted.router.state_dict()
    if moved == "experts":
        experts = [expert.cuda() for expert in experts]
    soft = SoftMergedExperts(experts[0], experts, WIDTH).eval()
    soft.router.load_state_dict(gates)
    if moved == "module":
        soft = soft.cuda()
    assert {each.device.type for each in soft.parameters()} == {"cuda"}
    answer = soft(inputs.cuda())
    torch.testing.assert_close(answer.cpu(), wanted(inputs), rtol=5e-3, atol=5e-3)
    answer.square().mean().backward()
    assert soft.router.weight.grad is not None
    assert soft.router.weight.grad.abs().sum() > 0
    chances = soft.chances(inputs.cuda())[0]
    assert soft.merged(chances)["0.weight"].is_cuda


def test_a_checkpoint_saved_there_comes_back_byte_for_byte(repo: Repo, ada: Author) -> None:
    """The pickle of ``torch.save`` names ``cuda:0``; nothing of it is executed, all of it kept."""
    model = _expert(0).cuda().bfloat16()
    optimizer = _trained_once(model)
    path = repo.root / "checkpoint.pt"
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}
    torch.save(state, path)
    before = path.read_bytes()
    repo.add([path.name])
    made = repo.commit("on the GPU", author=ada)
    path.unlink()
    repo.restore([path.name])
    assert path.read_bytes() == before
    found = torch.load(path, weights_only=True)
    assert found["model"]["0.weight"].device == torch.device("cuda", 0)
    names = [name for name, _ in repo.params(made.id, None, [])]
    assert any(name.endswith("0.weight") for name in names)


def test_experts_of_two_devices_move_to_that_of_the_template() -> None:
    experts = [_expert(0), _expert(1).cuda()]
    for template in (_expert(2), _expert(2).cuda()):
        home = next(template.parameters()).device
        soft = SoftMergedExperts(template, experts, WIDTH)
        assert {each.device for each in soft.parameters()} == {home}
