"""The key of a computed tensor: the same for the same bytes, another wherever they may differ."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.theta.merge.stored import put
from theta.merge import Alignment, Conflict, Decision, Method, Plan
from theta.merge.sources import MergedSource
from theta.merge.work import Work, work_of
from theta.strategies import STRATEGIES, Strategy
from theta.strategies.linear import Average, LinearSum
from theta.terms import Terms
from theta_store.errors import UsageError
from theta_store.hints import Base, Sum
from theta_store.ids import CommitId, RecordId, TensorId
from theta_store.store import Store

PLAN = Plan(tuple(CommitId(RecordId(bytes([n]) * 32)) for n in (1, 2)), ("main", "rte"), (), "rte")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "store", head="refs/heads/main") as opened:
        yield opened


@pytest.fixture
def ids(store: Store) -> list[TensorId]:
    """The base, and two sides of it."""
    return put(store, *(np.full((3, 4), n, np.float32) for n in (0, 1, 2)))


def _work(
    store: Store,
    ids: list[TensorId],
    name: str = "average",
    method: Method | None = None,
    plan: Plan = PLAN,
    called: str = "w",
) -> Work:
    base, *sides = ids
    conflict = Conflict("m", called, "content", Terms(tuple(sides), (base,)))
    decision = Decision(conflict, STRATEGIES.get(name)())
    return work_of(store, plan, decision, method or Method())


def test_who_merges_whom_is_not_in_the_key(store: Store, ids: list[TensorId]) -> None:
    turned = Plan(PLAN.sides[::-1], PLAN.labels[::-1], ())
    base, one, two = ids
    assert _work(store, ids).key == _work(store, [base, two, one], plan=turned).key


def test_what_the_bytes_follow_from_is_in_the_key(store: Store, ids: list[TensorId]) -> None:
    base, one, two = ids
    keys = {
        _work(store, ids).key,
        _work(store, ids, "task-arithmetic").key,
        _work(store, [two, one, base]).key,
        _work(store, ids, method=Method(nonfinite=True)).key,
    }
    assert len(keys) == 4
    # Without random numbers neither the seed nor the name says anything.
    assert _work(store, ids, method=Method(seed=3)).key in keys
    assert _work(store, ids, called="v").key in keys
    drawn = {
        _work(store, ids, "dare", Method(seed=seed), called=called).key
        for seed in (0, 1)
        for called in ("w", "v")
    }
    assert len(drawn) == 4


def test_hints_say_what_a_linear_strategy_computes(store: Store, ids: list[TensorId]) -> None:
    base, ours, theirs = ids
    total = Sum(tuple(sorted((ours, theirs))), (0.5, 0.5))
    assert _work(store, ids).hints == (total, Base(ours))
    assert _work(store, [base, theirs, ours]).hints == (total, Base(theirs))
    # Most of what ties makes is what it was; slerp takes no base.
    assert _work(store, ids, "ties").hints == (Base(base, discover=False),)
    assert _work(store, ids, "slerp").hints == (Base(ours, discover=False),)


def test_the_store_is_told_where_it_has_nothing_to_look_for(store: Store) -> None:
    base, one, two, half = put(
        store,
        *(np.full((3, 4), n, np.float32) for n in (0, 1, 2)),
        np.full((3, 4), 3, np.float16),
    )
    for name in ("average", "ties", "slerp"):
        assert _work(store, [base, one, two], name).told
    widest = Method(dtype="widest")
    assert not _work(store, [base, one, half], "average", widest).told


def test_statistics_do_not_go_with_an_alignment(store: Store, ids: list[TensorId]) -> None:
    _work(store, ids, "fisher")
    with pytest.raises(UsageError, match="fisher reads statistics"):
        _work(store, ids, "fisher", plan=replace(PLAN, align=Alignment()))


EXTREME = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(
    st.lists(st.tuples(EXTREME, EXTREME), min_size=1, max_size=40),
    st.sampled_from(["linear", "average"]),
    st.sampled_from([((0, 1.0), (1, 1.0)), ((0, 0.3), (1, 2.0)), ((0, -1.0), (1, 3.0))]),
    st.booleans(),
)
def test_a_sum_by_the_store_is_the_sum_of_the_strategy(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[tuple[float, float]],
    name: str,
    weights: tuple[tuple[int, float], ...],
    normalize: bool,
) -> None:
    columns = [np.array(column, np.float32) for column in zip(*values, strict=True)]
    strategy: Strategy = Average()
    if name == "linear":
        strategy = LinearSum(weight=tuple(weight for _, weight in weights), normalize=normalize)
    with Store.create(tmp_path_factory.mktemp("s") / "s", head="refs/heads/main") as store:
        base, *sides = put(store, np.full_like(columns[0], 77.25), *columns)
        assume(len({base, *sides}) == 3)
        conflict = Conflict("m", "w", "content", Terms(tuple(sides), (base,)))
        made = work_of(store, PLAN, Decision(conflict, strategy), Method()).source
        assert isinstance(made, MergedSource)
        plain = replace(made, total=None)
        found, wanted = bytearray(columns[0].nbytes), bytearray(columns[0].nbytes)
        made.read_into(0, memoryview(found))
        plain.read_into(0, memoryview(wanted))
    assert made.finite == plain.finite
    assert not made.finite or found == wanted


def test_a_sum_that_may_overflow_is_the_strategy_s(store: Store, ids: list[TensorId]) -> None:
    def total(*weights: float) -> object:
        conflict = Conflict("m", "w", "content", Terms(tuple(ids[1:]), (ids[0],)))
        strategy = LinearSum(weight=weights, normalize=False)
        source = work_of(store, PLAN, Decision(conflict, strategy), Method()).source
        assert isinstance(source, MergedSource)
        return source.total

    assert total(0.5, -1.0) is not None
    assert total(0.5, 1.5) is None
