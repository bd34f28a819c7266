"""Routers that are made anew: one gate for each layer.

Owns their values. Must not know which model they are for.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from theta.compose.manifest import Random, Zeros
from theta_store.arithmetic import is_computable, narrow
from theta_store.dtypes import dtype
from theta_store.errors import UsageError

STREAM = "router"


@dataclass(frozen=True)
class Gate:
    """The gate of one layer, without its values: experts × width."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Plain bytes of the gate."""
        return dtype(self.dtype).size_of(self.shape)


@dataclass(frozen=True)
class NewGate:
    """A gate with values that are made when they are read: a source of plain bytes."""

    gate: Gate
    router: Zeros | Random

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return self.gate.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Experts × width."""
        return self.gate.shape

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""
        out[:] = memoryview(self._plain)[start : start + len(out)]

    @cached_property
    def _plain(self) -> bytes:
        return gate_values(self.gate, self.router)


def gate_values(gate: Gate, router: Zeros | Random) -> bytes:
    """Return the plain bytes of a new gate.

    Random rows are uniform within ±1/√width, as a linear layer of torch begins. Their stream is
    keyed by the seed and the gate's name, so no other gate changes them.
    """
    from theta.strategies.values import philox_key, philox_uniform

    row = dtype(gate.dtype)
    if not is_computable(row):
        raise UsageError(f"a router of {gate.dtype} cannot be made", hint='kind = "given"')
    if isinstance(router, Zeros):
        return bytes(gate.nbytes)
    key = philox_key(router.seed, STREAM, gate.name, b"")
    drawn = philox_uniform(key, 0, math.prod(gate.shape)).astype("float64")
    return narrow((drawn * 2 - 1) / math.sqrt(gate.shape[-1]), row).tobytes()
