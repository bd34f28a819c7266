"""What a merge will cost, from records alone.

Owns the estimate. Must not read values.
"""

from dataclasses import dataclass

from theta.merge.decisions import Decided, changed, has_base
from theta.strategies.pick import Pick
from theta.terms import ABSENT
from theta_store.dtypes import dtype
from theta_store.ids import TensorId
from theta_store.store import Store


@dataclass(frozen=True)
class Estimate:
    """Plain bytes that strategies read and compute, and the most that one holds at once.

    ``read_bytes`` counts a tensor once more where a strategy looks at the whole of it first.
    ``matrix_bytes`` are of the largest parameter that is needed as a whole, all terms, as computed;
    0 where none is. ``statistics`` are the kinds that have to be there.
    """

    tensors: int
    read_bytes: int
    computed_bytes: int
    matrix_bytes: int
    statistics: tuple[str, ...]


def estimate_of(store: Store, decided: Decided) -> Estimate:
    """Return what the decisions of a merge will cost; exact merges are not foreseen."""
    tensors = read = computed = matrix = 0
    statistics: set[str] = set()
    for decision in decided.decisions:
        conflict, strategy = decision.conflict, decision.strategy
        if isinstance(strategy, Pick) or conflict.leaves is None:
            continue
        terms = [id_ for _, id_ in changed(conflict)]
        base = conflict.leaves.bases[0]
        if strategy.reads_base and has_base(store, conflict) and base is not ABSENT:
            terms.append(base)
        reach = strategy.needs.reach
        size = sum(store.tensor(id_).nbytes for id_ in terms)
        tensors += 1
        read += size if reach == "element" else 2 * size
        computed += store.tensor(terms[0]).nbytes
        if reach == "matrix":
            matrix = max(matrix, sum(_wide(store, id_) for id_ in terms))
        statistics.update(strategy.needs.statistics)
    return Estimate(tensors, read, computed, matrix, tuple(sorted(statistics)))


def _wide(store: Store, id_: TensorId) -> int:
    tensor = store.tensor(id_)
    return tensor.count * max(4, dtype(tensor.dtype).nbytes)
