"""A statistic: one array for each parameter, and how it was made.

Owns the frozen value and how several become one. Must not know how they are computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theta_store.errors import UsageError

Kind = Literal["fisher", "gram"]
# Over which labels Fisher information is taken: all, by their chances; one drawn; the data's own.
Labels = Literal["expected", "sampled", "data"]


@dataclass(frozen=True)
class Statistic:
    """Means over examples, float32, by the names of parameters.

    ``fisher``: of the squared gradient of the log-likelihood, in the parameter's shape. ``gram``:
    of the products of a layer's inputs, inputs × inputs. ``labels``: of Fisher information only.
    """

    kind: Kind
    examples: int
    values: Mapping[str, NDArray[np.float32]]
    labels: Labels | None = None

    @cached_property
    def norm(self) -> float:
        """L2 norm over all parameters, in float64."""
        return float(
            np.sqrt(sum(np.square(v, dtype=np.float64).sum() for v in self.values.values()))
        )


def combined(statistics: Sequence[Statistic]) -> Statistic:
    """Return the statistic over the examples of all, as a merged model gets it.

    Statistics of different kinds, labels, names or shapes are a `UsageError`.
    """
    first = statistics[0]
    made = {(s.kind, s.labels, _shapes(s)) for s in statistics}
    if len(made) > 1:
        raise UsageError("statistics of different kinds, labels, names or shapes are no sum")
    examples = sum(s.examples for s in statistics)
    values = {name: _mean(name, statistics, examples) for name in first.values}
    return Statistic(first.kind, examples, values, first.labels)


def _mean(name: str, statistics: Sequence[Statistic], examples: int) -> NDArray[np.float32]:
    total = np.zeros(statistics[0].values[name].shape)
    for each in statistics:
        total += each.values[name] * np.float64(each.examples / examples)
    return total.astype(np.float32)


def _shapes(statistic: Statistic) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((name, each.shape) for name, each in statistic.values.items())
