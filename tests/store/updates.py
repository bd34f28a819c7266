"""Realistic steps from one tensor to the next, as bytes: what the store has to recognise."""

import numpy as np
from numpy.typing import NDArray

from tests.store.sources import BytesSource
from theta_store.arithmetic import narrow, widen
from theta_store.dtypes import dtype

Floats = NDArray[np.float32]


def weights(seed: int, *shape: int) -> Floats:
    """Return values as a trained matrix has them."""
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)


def source(values: Floats, kind: str = "F32") -> BytesSource:
    """Return values as a tensor of a dtype, rounded once."""
    plain = narrow(np.ascontiguousarray(values).reshape(-1), dtype(kind))
    return BytesSource(kind, values.shape, plain.tobytes())


def values_of(tensor: BytesSource) -> Floats:
    """Return the values of a tensor."""
    return widen(tensor.data, dtype(tensor.dtype)).astype(np.float32).reshape(tensor.shape)


def trained(values: Floats, seed: int, step: float = 1e-5) -> Floats:
    """Return values after a few steps of Adam: every weight moves by about the same."""
    moves = np.random.default_rng(seed).normal(0, step, values.shape)
    return (values + moves).astype(np.float32)


def sparse(values: Floats, seed: int, share: float = 0.005) -> Floats:
    """Return values of which a few have moved."""
    rng = np.random.default_rng(seed)
    moved = rng.random(values.shape) < share
    return np.where(moved, values + rng.normal(0, 0.01, values.shape), values).astype(np.float32)


def adapted(values: Floats, seed: int, rank: int = 8) -> Floats:
    """Return values plus a merged low-rank adapter, computed in float32 as trainers do."""
    rng = np.random.default_rng(seed)
    left = rng.normal(0, 1, (values.shape[0], rank)).astype(np.float32)
    right = rng.normal(0, 1, (rank, values.shape[1])).astype(np.float32)
    scale = np.float32(1.5e-3 / np.sqrt(rank))
    return values + (left @ right) * scale
