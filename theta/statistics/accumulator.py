"""Collecting a statistic, a batch at a time.

Owns sums and counts. Must not know torch, nor what is summed.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theta.statistics.statistic import Kind, Labels, Statistic
from theta_store.errors import UsageError


@dataclass
class Accumulator:
    """Sums in float64 by the names of parameters, and over how much each was taken."""

    kind: Kind
    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, total: NDArray[Any], count: int) -> None:
        """Take the sum over ``count`` more: of squared gradients, or XᵀX of inputs X (rows)."""
        if name in self.sums:
            self.sums[name] += total
        else:
            self.sums[name] = np.array(total, np.float64)
        self.counts[name] = self.counts.get(name, 0) + count

    def result(self, examples: int, labels: Labels | None = None) -> Statistic:
        """Return the means; nothing seen, or what is not finite, is a `UsageError`."""
        if not self.sums:
            raise UsageError(f"no parameter has a {self.kind}: nothing was seen")
        for name, total in self.sums.items():
            if not np.isfinite(total).all():
                raise UsageError(f"the {self.kind} of {name} is not finite")
        values = {
            name: (total / max(self.counts[name], 1)).astype(np.float32)
            for name, total in self.sums.items()
        }
        return Statistic(self.kind, examples, values, labels)
