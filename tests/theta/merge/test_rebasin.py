"""Which models of a plan are aligned with ours, and that nothing but the order changes."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.theta.merge.stored import ArraySource, get
from theta.alignment import apply, recognised, sizes
from theta.checkpoint import named_leaves
from theta.merge import Alignment, Plan, aligned_sides
from theta.params import build_params
from theta_store.errors import UsageError
from theta_store.ids import CheckpointId
from theta_store.records import Checkpoint, File, TreeEntry
from theta_store.store import Store

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
Tensors = dict[str, np.ndarray]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


class _Whole(ArraySource):
    """The bytes of float32 as whole numbers."""

    @property
    def dtype(self) -> str:
        return "I32"


def _model(
    store: Store,
    tensors: Tensors,
    aliases: dict[str, str] | None = None,
    source: type[ArraySource] = ArraySource,
) -> TreeEntry:
    with store.session() as session:
        items = ((name, source(each)) for name, each in tensors.items())
        ids = {stored.name: stored.id for stored in session.put_tensors(items)}
        params = build_params(ids, session)
        file = File("", session.put_bytes(b""), {})
        record = Checkpoint("safetensors", 1, (file,), params, aliases or {})
        entry = TreeEntry("m", "checkpoint", CheckpointId(session.put_record(record)))
        session.flush()
    return entry


def _aligned(
    store: Store, *sides: TreeEntry, base: TreeEntry | None = None
) -> tuple[list[TreeEntry], dict[str, str]]:
    labels = ("main", "rte", "mnli")[: len(sides)]
    plan = Plan((), labels, (), align=Alignment())
    with store.session() as session:
        entries = [{"m": side} for side in sides]
        found = aligned_sides(store, session, plan, entries, {"m": base} if base else {})
        session.flush()
    return [side["m"] for side in found], plan.aligned


def _mlp(widths: list[int], seed: int = 0, kind: type = np.float32) -> Tensors:
    rng = np.random.default_rng(seed)
    return {
        f"{n}.weight": rng.standard_normal((made, read)).astype(np.float32).astype(kind)
        for n, (read, made) in enumerate(pairwise(widths))
    }


def _shuffled(tensors: Tensors, seed: int = 0) -> Tensors:
    _, spec = recognised({name: each.shape for name, each in tensors.items()})
    rng = np.random.default_rng(seed)
    return apply(spec, {n: rng.permutation(c) for n, c in sizes(spec, tensors).items()}, tensors)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(
    st.lists(st.integers(2, 9), min_size=3, max_size=5),
    st.integers(0, 99),
    st.sampled_from([np.float32, np.float16, np.float64]),
)
def test_a_permuted_copy_gets_the_ids_of_ours(
    store: Store, widths: list[int], seed: int, kind: type
) -> None:
    ours = _mlp(widths, seed, kind)
    sides = [_model(store, ours), _model(store, _shuffled(ours, seed))]
    found, aligned = _aligned(store, *sides)
    assert found == [sides[0], sides[0]]
    assert aligned == ({} if sides[0] == sides[1] else {"m": "mlp"})


def test_only_the_order_changes(store: Store) -> None:
    ours, theirs = _mlp([5, 9, 3]), _mlp([5, 9, 3], 1)
    found, _ = _aligned(store, _model(store, ours), _model(store, theirs))
    leaves = named_leaves(store, found[1])
    (first, second) = (get(store, leaves[name], theirs[name]) for name in theirs)
    order = [int(np.flatnonzero((theirs["0.weight"] == row).all(1))[0]) for row in first]
    assert sorted(order) == list(range(9))
    assert np.array_equal(second, theirs["1.weight"][:, order])


def test_a_side_that_has_what_the_base_has_stays(store: Store) -> None:
    ours = _mlp([4, 6, 3])
    base, other = _model(store, _shuffled(ours, 5)), _model(store, _shuffled(ours, 1))
    main = _model(store, ours)
    found, aligned = _aligned(store, main, base, other, base=base)
    assert found == [main, base, main]
    assert aligned == {"m": "mlp"}
    # Here ids settle it: main has what the base has.
    assert _aligned(store, base, other, base=base) == ([base, other], {})


def test_a_dtype_that_is_no_real_number_is_refused(store: Store) -> None:
    one, two = (_mlp([3, 3, 3], seed) for seed in (0, 1))
    sides = [_model(store, each, source=_Whole) for each in (one, two)]
    with pytest.raises(UsageError, match=r"m of rte cannot be aligned: 0.weight is I32"):
        _aligned(store, *sides)


def test_a_tie_that_would_break_is_refused(store: Store) -> None:
    """The second layer is the first one: its rows would have to lie in two orders."""
    one, two = (_mlp([4, 4, 4], seed)["0.weight"] for seed in (0, 1))
    last = _mlp([4, 4], 3)["0.weight"]
    sides = [
        _model(store, {"0.weight": each, "2.weight": last}, {"1.weight": "0.weight"})
        for each in (one, two)
    ]
    with pytest.raises(UsageError, match=r"1.weight is tied to 0.weight, whose units are others"):
        _aligned(store, *sides)
