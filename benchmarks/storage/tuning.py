"""Training: whole models, some of their numbers, or an adapter beside them.

Owns the loop, the batches and the optimizer's settings. Must not know files or histories.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from benchmarks.storage.adapters import Merge, State
from benchmarks.storage.corpus import Tokens
from benchmarks.storage.transformer import Transformer

Step = Callable[[int, torch.optim.AdamW], None]
WARM_UP = 20
FISHER_BATCHES = 8
SPARSE_SHARE = 0.005
JUDGED = 64


@dataclass(frozen=True)
class Task:
    """What to train on, for how long and how fast; ``decay`` is AdamW's."""

    tokens: Tokens
    steps: int
    rate: float
    batch: int
    seed: int
    decay: float = 0.01


@dataclass(frozen=True)
class Trained:
    """Nats per token on fixed windows of the task's text, and the optimizer."""

    before: float
    after: float
    optimizer: torch.optim.AdamW


@contextmanager
def one_thread() -> Iterator[None]:
    """Give torch one thread: sums have one order then, and two shared cores are no faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    model: Transformer,
    task: Task,
    *,
    only: Mapping[str, Tensor | None] | None = None,
    after: Step = lambda *_: None,
) -> Trained:
    """Train a model in place.

    ``only``: the names to train, each with a mask of its elements, or None for all of them.
    ``after`` is called with the number of steps done and the optimizer.
    """
    chosen = dict(model.named_parameters())
    if only is not None:
        chosen = {name: chosen[name] for name in only}
    masks = list((only or dict.fromkeys(chosen)).values())

    def mask_gradients() -> None:
        for parameter, mask in zip(chosen.values(), masks, strict=True):
            if mask is not None and parameter.grad is not None:
                parameter.grad *= mask

    return _loop(model.forward, list(chosen.values()), model, task, mask_gradients, after)


def train_adapter(model: Transformer, merge: Merge, factors: State, task: Task) -> Trained:
    """Train factors in place; the model's own weights stay as they are."""
    frozen = {name: value.detach() for name, value in model.state_dict().items()}
    for factor in factors.values():
        factor.requires_grad = True

    def forward(tokens: Tensor) -> Tensor:
        return functional_call(model, merge(frozen, factors), (tokens,))

    done = _loop(forward, list(factors.values()), model, task, lambda: None, lambda *_: None)
    for factor in factors.values():
        factor.requires_grad = False
    return done


def _loop(
    forward: Callable[[Tensor], Tensor],
    parameters: list[Tensor],
    model: Transformer,
    task: Task,
    mask_gradients: Callable[[], None],
    after: Step,
) -> Trained:
    optimizer = torch.optim.AdamW(parameters, lr=task.rate, weight_decay=task.decay, fused=True)
    context = model.shape.context
    before = _judge(forward, task, context)
    for step, (inputs, targets) in enumerate(_batches(task, context), 1):
        optimizer.param_groups[0]["lr"] = task.rate * min(1.0, step / WARM_UP)
        loss = _loss(forward, inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        mask_gradients()
        optimizer.step()
        after(step, optimizer)
    return Trained(before, _judge(forward, task, context), optimizer)


@torch.no_grad()
def _judge(forward: Callable[[Tensor], Tensor], task: Task, context: int) -> float:
    """Return the loss on windows spread evenly over the text."""
    starts = np.linspace(0, len(task.tokens) - context - 1, JUDGED).astype(int)
    inputs, targets = _windows(task.tokens, starts, context)
    return _loss(forward, inputs, targets).item()


def fisher_mask(model: Transformer, task: Task) -> dict[str, Tensor]:
    """Return which elements a FISH mask would train: the 0.5 % of largest squared gradients."""
    squares = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for (inputs, targets), _ in zip(
        _batches(task, model.shape.context), range(FISHER_BATCHES), strict=False
    ):
        model.zero_grad()
        _loss(model.forward, inputs, targets).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                squares[name] += parameter.grad**2
    model.zero_grad()
    flat = torch.cat([value.flatten() for value in squares.values()])
    count = max(1, int(len(flat) * SPARSE_SHARE))
    limit = torch.topk(flat, count).values[-1]
    return {name: (value >= limit).float() for name, value in squares.items()}


def _loss(forward: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(forward(inputs).flatten(0, 1), targets.flatten())


def _batches(task: Task, context: int) -> Iterator[tuple[Tensor, Tensor]]:
    chance = np.random.default_rng(task.seed)
    for _ in range(task.steps):
        starts = chance.integers(0, len(task.tokens) - context - 1, task.batch)
        yield _windows(task.tokens, starts, context)


def _windows(tokens: Tokens, starts: NDArray[np.int64], context: int) -> tuple[Tensor, Tensor]:
    rows = np.stack([tokens[start : start + context + 1] for start in starts])
    both = torch.from_numpy(rows)
    return both[:, :-1], both[:, 1:]
