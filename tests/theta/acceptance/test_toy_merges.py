"""Merging does what it is for: small networks on scikit-learn's digits, five seeds.

The margins are those that the study measured: RegMean over the average, Fisher over the average,
every merge over both branches, and SMEAR over one dense expert that costs as much; besides, that
networks which were trained from different starts can be averaged once they are aligned. That TIES
beats the average is not true here, and is not asserted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from theta.alignment import align, apply, mlp
from theta.nn import SoftMergedExperts
from theta.statistics import Statistic, compute
from theta.strategies.arrays import ArrayEvidence, ArrayValues
from theta.strategies.base import Strategy
from theta.strategies.fisher import Fisher
from theta.strategies.linear import Average
from theta.strategies.regmean import RegMean

pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = range(5)
DOMAIN_STEPS, DOMAIN_BATCH, DOMAIN_RATE = 1200, 64, 3e-3
BASE_STEPS, BRANCH_STEPS, BATCH, EXAMPLES = 60, 300, 128, 200
STRATEGIES: dict[str, Strategy] = {
    "average": Average(),
    "fisher": Fisher(),
    "regmean": RegMean(alpha=0.9),
}


@dataclass(frozen=True)
class Task:
    """Images (n × 64, from 0 to 1) and their labels, to train on and to test on."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def seen_as(self, change: Callable[[Tensor], Tensor]) -> "Task":
        return Task(change(self.images), self.labels, change(self.test_images), self.test_labels)

    def only(self, wanted: range) -> "Task":
        """The same test, but only some classes to train on."""
        kept = torch.isin(self.labels, torch.tensor(list(wanted)))
        return Task(self.images[kept], self.labels[kept], self.test_images, self.test_labels)

    def named(self, shift: int) -> "Task":
        return Task(
            self.images,
            (self.labels + shift) % 10,
            self.test_images,
            (self.test_labels + shift) % 10,
        )


@cache
def _digits(seed: int) -> Task:
    found = load_digits()
    images = torch.tensor(found.data / 16, dtype=torch.float32)
    labels = torch.tensor(found.target)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    train, test = order[:1300], order[1300:]
    return Task(images[train], labels[train], images[test], labels[test])


def _rotated(images: Tensor) -> Tensor:
    return images.reshape(-1, 8, 8).rot90(1, (1, 2)).reshape(-1, 64)


def _inverted(images: Tensor) -> Tensor:
    return 1 - images


def _shuffled(images: Tensor) -> Tensor:
    return images[:, torch.from_numpy(np.random.default_rng(0).permutation(64))]


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def _train(model: nn.Module, task: Task, steps: int, size: int = BATCH, rate: float = 1e-3) -> None:
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        batch = torch.randint(len(task.labels), (size,))
        loss = nn.functional.cross_entropy(model(task.images[batch]), task.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _accuracy(model: nn.Module, tasks: list[Task]) -> float:
    """Return the mean over the tasks' tests, in percent."""
    model.eval()
    with torch.no_grad():
        right = [(model(t.test_images).argmax(1) == t.test_labels).float().mean() for t in tasks]
    return 100 * float(torch.stack(right).mean())


def _branches(base: nn.Module, tasks: list[Task]) -> list[nn.Module]:
    made = []
    for task in tasks:
        branch = _network()
        branch.load_state_dict(base.state_dict())
        _train(branch, task, BRANCH_STEPS)
        made.append(branch)
    return made


def _merged(
    strategy: Strategy, branches: list[nn.Module], statistics: list[Statistic]
) -> nn.Module:
    states = [
        {name: each.detach().numpy() for name, each in branch.state_dict().items()}
        for branch in branches
    ]
    merged: dict[str, NDArray[np.float32]] = {}
    for name in states[0]:
        sides = [state[name] for state in states]
        evidence = (
            {
                statistics[0].kind: [
                    ArrayEvidence(s.values[name], s.norm) for s in statistics if name in s.values
                ]
            }
            if statistics
            else {}
        )
        values = ArrayValues(name, sides, None, (0, 1), evidence)
        merged[name] = strategy.prepare(values)(values.whole()).reshape(values.shape)
    model = _network()
    model.load_state_dict({name: torch.from_numpy(each) for name, each in merged.items()})
    return model


@cache
def _accuracies(scenario: str, seed: int) -> dict[str, float]:
    """Return the accuracy of both branches and of every merge of them."""
    torch.manual_seed(seed)
    whole = _digits(seed)
    if scenario == "split":
        tasks, tests = [whole.only(range(5)), whole.only(range(5, 10))], [whole]
    else:
        tasks = tests = [whole.seen_as(_rotated), whole.seen_as(_inverted)]
    base = _network()
    _train(base, whole, BASE_STEPS)
    branches = _branches(base, tasks)
    found = {f"branch {n}": _accuracy(branch, tests) for n, branch in enumerate(branches)}
    for name, strategy in STRATEGIES.items():
        statistics = [
            compute(kind, branch, [task.images], examples=EXAMPLES if kind == "fisher" else 1300)
            for kind in strategy.needs.statistics
            for branch, task in zip(branches, tasks, strict=True)
        ]
        found[name] = _accuracy(_merged(strategy, branches, statistics), tests)
    return found


def _expert() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


@cache
def _domains(seed: int) -> dict[str, float]:
    """Return the accuracy over four kinds of images with conflicting labels."""
    torch.manual_seed(seed)
    whole = _digits(seed)
    changes = (lambda images: images, _rotated, _inverted, _shuffled)
    tasks = [whole.seen_as(change).named(3 * n) for n, change in enumerate(changes)]
    joined = Task(
        torch.cat([task.images for task in tasks]),
        torch.cat([task.labels for task in tasks]),
        whole.test_images,
        whole.test_labels,
    )
    dense = _expert()
    soft = SoftMergedExperts(_expert(), [_expert() for _ in tasks], 64)
    for model in (dense, soft):
        _train(model, joined, DOMAIN_STEPS, DOMAIN_BATCH, DOMAIN_RATE)
    return {"dense": _accuracy(dense, tasks), "soft": _accuracy(soft, tasks)}


def _margins(scenario: str, better: str) -> NDArray[np.float64]:
    """Return by how many points a merge is better than the average, for each seed."""
    found = [_accuracies(scenario, seed) for seed in SEEDS]
    return np.array([each[better] - each["average"] for each in found])


@pytest.mark.parametrize("merge", STRATEGIES)
def test_every_merge_knows_more_than_both_branches(merge: str) -> None:
    for seed in SEEDS:
        found = _accuracies("split", seed)
        assert found[merge] > max(found["branch 0"], found["branch 1"]) + 10


def test_regmean_beats_the_average() -> None:
    split, shift = _margins("split", "regmean"), _margins("shift", "regmean")
    assert split.mean() >= 2
    assert split.min() > 0
    assert shift.min() >= 30


def test_fisher_beats_the_average_on_shifted_inputs() -> None:
    assert _margins("shift", "fisher").mean() >= 5


def test_soft_merged_experts_beat_a_dense_one_of_the_same_cost() -> None:
    found = [_domains(seed) for seed in SEEDS]
    assert all(each["soft"] > each["dense"] for each in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_networks_of_different_origin_average_well_when_aligned(seed: int) -> None:
    whole, networks = _digits(seed), []
    for origin in range(2):
        torch.manual_seed(100 * seed + origin)
        network = _network()
        _train(network, whole, BRANCH_STEPS)
        networks.append(network)
    first, second = (
        {name: each.detach().numpy() for name, each in network.state_dict().items()}
        for network in networks
    )
    spec = mlp(["0", "2", "4"])
    turned = apply(spec, align(spec, first, second), second)
    aligned = _network()
    aligned.load_state_dict({name: torch.from_numpy(each) for name, each in turned.items()})
    plain, better = (
        _accuracy(_merged(Average(), [networks[0], other], []), [whole])
        for other in (networks[1], aligned)
    )
    assert better - plain >= 8
