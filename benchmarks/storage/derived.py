"""Checkpoints that are computed from others: casts, averages, and rows taken, added or moved.

Owns these formulas on state dictionaries. Must not know training or files.
"""

import numpy as np
import torch

from benchmarks.storage.adapters import State
from benchmarks.storage.corpus import Corpus
from benchmarks.storage.transformer import VOCABULARY_ROWS

RARE = 5
NEW_ROWS = 64


def cast(state: State, dtype: torch.dtype) -> State:
    """Return every tensor in another dtype, rounded to nearest even."""
    return {name: value.to(dtype) for name, value in state.items()}


def average(one: State, two: State) -> State:
    """Return 0.5 · one + 0.5 · two."""
    return {name: 0.5 * one[name] + 0.5 * two[name] for name in one}


def used_tokens(corpus: Corpus, tasks: list[str]) -> torch.Tensor:
    """Return, ascending, the tokens that occur at least five times in the texts of tasks."""
    texts = np.concatenate([corpus.tokens[task] for task in tasks])
    counts = np.bincount(texts, minlength=corpus.vocabulary.size)
    return torch.from_numpy(np.flatnonzero(counts >= RARE))


def take_rows(state: State, rows: torch.Tensor) -> State:
    """Return a state whose vocabulary holds these rows of the old one, in this order."""
    return state | {name: state[name][rows].clone() for name in VOCABULARY_ROWS}


def grow_rows(state: State, seed: int) -> State:
    """Return a state with 64 rows more per vocabulary: the mean row and noise, as libraries do."""
    made = torch.Generator().manual_seed(seed)
    grown = dict(state)
    for name in VOCABULARY_ROWS:
        old = state[name]
        noise = 0.02 * torch.randn(NEW_ROWS, old.shape[1], generator=made)
        grown[name] = torch.cat([old, old.mean(0, keepdim=True) + noise])
    return grown


def permuted(rows: int, seed: int) -> torch.Tensor:
    """Return the numbers of rows in a random order."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
