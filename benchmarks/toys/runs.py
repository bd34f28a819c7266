"""The runs: networks trained as the acceptance tests train them, merged by typed rules.

Owns which rules are tried. Must not know how results are shown. Networks, tasks and scores are
those of `tests/theta/acceptance/test_toy_merges.py`, so that the figures are of what is asserted.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.toys.scores import BRANCHES, SHIFT, SPLIT, Scores
from tests.theta.acceptance.test_toy_merges import (
    BASE_STEPS,
    EXAMPLES,
    SEEDS,
    Task,
    _accuracy,
    _branches,
    _digits,
    _domains,
    _inverted,
    _network,
    _rotated,
    _train,
)
from theta.merge import parse_choice
from theta.merge.choice import Site
from theta.statistics import Statistic, compute
from theta.strategies.arrays import ArrayEvidence, ArrayValues
from theta.strategies.base import Strategy
from theta.strategies.values import philox_key

RULES = (
    "average",
    "fisher",
    "regmean",
    "mats",
    "slerp",
    "karcher",
    "task-arithmetic",
    "ties density=0.2",
    "dare density=0.5",
    "dare-ties density=0.5",
    "della density=0.5",
    "breadcrumbs density=0.5",
    "sce",
    "magmax",
    "ram",
    "consensus",
    "model-stock",
    "tsv-m",
    "iso-c",
    "knots",
)
SWEPT = ("task-arithmetic", "ties density=0.2")
LAMBDAS = tuple(f"{tenths / 10:g}" for tenths in range(1, 11))
SITE = Site(("ours", "theirs"))
ROWS = 1300


def measure(scores: Scores, seeds: Sequence[int] = SEEDS) -> Iterator[str]:
    """Add the runs of every seed to the scores; yield a line for each."""
    torch.set_num_threads(1)
    for seed in seeds:
        for scenario in (SPLIT, SHIFT):
            _add(scores, scenario, Trained(scenario, seed))
            yield f"{scenario}, seed {seed}"
        for name, score in _domains(seed).items():
            scores.experts.setdefault(name, []).append(score)
        yield f"experts, seed {seed}"


class Trained:
    """A base, two branches from it, and what is known of the data of each."""

    def __init__(self, scenario: str, seed: int) -> None:
        torch.manual_seed(seed)
        whole = _digits(seed)
        if scenario == SPLIT:
            self._tasks, self._tests = [whole.only(range(5)), whole.only(range(5, 10))], [whole]
        else:
            self._tasks = self._tests = [whole.seen_as(_rotated), whole.seen_as(_inverted)]
        self._base = _network()
        _train(self._base, whole, BASE_STEPS)
        self.branches = _branches(self._base, self._tasks)
        self._known: dict[str, list[Statistic]] = {}

    def score(self, model: nn.Module) -> float:
        """Return the accuracy of a network on the tests of the scenario."""
        return _accuracy(model, self._tests)

    def merged(self, text: str) -> nn.Module:
        """Return the branches merged by a rule, parameter by parameter."""
        strategy = parse_choice(text).settle(SITE)
        base, *sides = [_arrays(model) for model in (self._base, *self.branches)]
        model = _network()
        made = {
            name: self._parameter(strategy, name, base[name], [side[name] for side in sides])
            for name in base
        }
        model.load_state_dict({name: torch.from_numpy(each) for name, each in made.items()})
        return model

    def _parameter(
        self,
        strategy: Strategy,
        name: str,
        base: NDArray[np.float32],
        sides: list[NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        evidence = {
            kind: [
                ArrayEvidence(s.values[name], s.norm) for s in self._of(kind) if name in s.values
            ]
            for kind in strategy.needs.statistics
        }
        keys = [philox_key(0, strategy.id, name, bytes((n,))) for n in range(len(sides))]
        values = ArrayValues(name, sides, base if strategy.reads_base else None, keys, evidence)
        with np.errstate(all="ignore"):
            return strategy.prepare(values)(values.whole()).reshape(values.shape)

    def _of(self, kind: str) -> list[Statistic]:
        if kind not in self._known:
            pairs = zip(self.branches, self._tasks, strict=True)
            self._known[kind] = [_statistic(kind, branch, task) for branch, task in pairs]
        return self._known[kind]


def _add(scores: Scores, scenario: str, trained: Trained) -> None:
    found = scores.merges.setdefault(scenario, {})
    for name, branch in zip(BRANCHES, trained.branches, strict=True):
        found.setdefault(name, []).append(trained.score(branch))
    for rule in RULES:
        found.setdefault(rule, []).append(trained.score(trained.merged(rule)))
    for rule in SWEPT:
        swept = scores.sweeps.setdefault(scenario, {}).setdefault(rule, {})
        for each in LAMBDAS:
            model = trained.merged(f"{rule} lambda={each}")
            swept.setdefault(each, []).append(trained.score(model))


def _statistic(kind: str, branch: nn.Module, task: Task) -> Statistic:
    examples = EXAMPLES if kind == "fisher" else ROWS
    return compute(kind, branch, [task.images], examples=examples)


def _arrays(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {name: each.detach().numpy() for name, each in model.state_dict().items()}
