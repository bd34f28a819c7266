"""Keep policies read histories: the newest, the best, every so many, and all of them joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import theta
from theta.keep import Keep, best, every, last
from theta_store.errors import UsageError
from theta_store.ids import CommitId, RecordId, TreeId
from theta_store.records import Commit


def _id(number: int) -> CommitId:
    return CommitId(RecordId(number.to_bytes(32, "big")))


def _commit(
    number: int, parents: tuple[int, ...], step: int | None = None, **metrics: float
) -> tuple[CommitId, Commit]:
    made = Commit(
        TreeId(_id(0)),
        tuple(map(_id, parents)),
        "a",
        number,
        0,
        str(number),
        step,
        {name: float(value) for name, value in metrics.items()},
    )
    return _id(number), made


def _line(*losses: float | None) -> list[tuple[CommitId, Commit]]:
    """Return a linear history, newest first; commit 1 is the root."""
    return [
        _commit(n, (n - 1,) if n > 1 else (), **({} if loss is None else {"loss": loss}))
        for n, loss in enumerate(losses, 1)
    ][::-1]


def _kept(keep: Keep, history: list[tuple[CommitId, Commit]], **more: object) -> set[int]:
    found = keep.kept(history, **({"directions": {}} | more))  # type: ignore[arg-type]
    return {int.from_bytes(id_, "big") for id_ in found}


def test_last_counts_what_still_has_files() -> None:
    history = _line(*[None] * 6)
    assert _kept(last(2), history) == {5, 6}
    assert _kept(last(2), history, given_up={_id(5), _id(6)}) == {3, 4}
    assert _kept(last(99), history) == {1, 2, 3, 4, 5, 6}


def test_best_goes_by_the_metric_and_its_direction() -> None:
    history = _line(5, 3, None, float("nan"), 1, 3)
    assert _kept(best("loss", 2), history) == {5, 6}, "of equals the newest"
    assert _kept(best("loss", 1), history, directions={"loss": "max"}) == {1}
    assert _kept(best("loss", 1), history, given_up={_id(5)}) == {6}
    everything = {1, 2, 3, 4, 5, 6}
    assert _kept(best("accuracy", 3), history) == everything, "nobody measured it"


def test_every_goes_by_step_else_by_the_place_from_the_root() -> None:
    assert _kept(every(2), _line(*[None] * 5)) == {1, 3, 5}
    steps = [_commit(1, (), 0), _commit(2, (1,), 500), _commit(3, (2,), 1000), _commit(4, (3,))]
    assert _kept(every(1000), steps[::-1]) == {1, 3}
    assert _kept(every(3), steps[::-1]) == {1, 4}


def test_the_place_of_a_commit_does_not_change_when_a_branch_is_merged() -> None:
    main = [_commit(n, (n - 1,) if n > 1 else ()) for n in range(1, 5)]
    side = _commit(9, (1,))
    merge = _commit(10, (4, 9))
    before = _kept(every(2), main[::-1])
    assert _kept(every(2), [merge, side, *main[::-1]]) - {10} == before == {1, 3}


@given(
    st.lists(st.none() | st.floats(allow_infinity=False), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_policies_together_keep_what_each_keeps(
    losses: list[float | None], newest: int, top: int, step: int
) -> None:
    history = _line(*losses)
    policies = [last(newest), best("loss", top), every(step)]
    joined = policies[0] | policies[1] | policies[2]
    apart = set().union(*(_kept(policy, history) for policy in policies))
    assert _kept(joined, history) == apart
    assert len(losses) in apart, "the newest is always kept"
    assert str(joined) == f"--keep-last {newest} --keep-best loss:{top} --keep-every {step}"


def test_counts_are_positive_and_the_module_is_public() -> None:
    for make in (theta.keep.last, theta.keep.every, lambda n: theta.keep.best("x", n)):
        with pytest.raises(UsageError):
            make(0)
