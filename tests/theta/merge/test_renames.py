"""Renames: found by equal ids, followed on every side."""

from hypothesis import given
from hypothesis import strategies as st

from theta.merge.renames import renamed, under_new_names
from theta.terms import Terms
from theta_store.ids import RecordId, TensorId


def _id(number: int) -> TensorId:
    return TensorId(RecordId(bytes([number]) * 32))


def _leaves(**numbers: int) -> dict[str, TensorId]:
    return {name.replace("__", "."): _id(number) for name, number in numbers.items()}


NAMES = st.sampled_from(["a.w", "a.b", "c.w", "c.b", "d"])
LEAVES = st.dictionaries(NAMES, st.integers(1, 4).map(_id), max_size=5)


def test_the_same_tensor_under_another_name() -> None:
    assert renamed(_leaves(a=1, b=2), _leaves(c=1, b=2)) == {"a": "c"}
    assert renamed(_leaves(a=1), _leaves(c=2)) == {}
    assert renamed(_leaves(a=1), _leaves(a=1, c=1)) == {}, "a copy is no rename"


def test_equal_tensors_go_by_the_ends_of_their_names() -> None:
    old = _leaves(h__0__norm=1, h__1__norm=1, h__0__bias=1)
    new = _leaves(model__h__0__norm=1, model__h__1__norm=1, model__h__0__bias=1)
    assert renamed(old, new) == {name: f"model.{name}" for name in old}


def test_what_could_be_either_stays_alone() -> None:
    assert renamed(_leaves(a=1, b=1), _leaves(c=1, d=1)) == {}
    assert renamed(_leaves(a=1, b=1), _leaves(c=1)) == {}


@given(LEAVES, LEAVES)
def test_a_rename_is_one_to_one_and_keeps_the_tensor(
    base: dict[str, TensorId], side: dict[str, TensorId]
) -> None:
    found = renamed(base, side)
    assert len(set(found.values())) == len(found)
    for old, new in found.items():
        assert base[old] == side[new]
        assert old not in side
        assert new not in base


@given(LEAVES, LEAVES, LEAVES)
def test_no_tensor_is_lost_under_new_names(
    base: dict[str, TensorId], one: dict[str, TensorId], two: dict[str, TensorId]
) -> None:
    moved, who = under_new_names(Terms((one, two), (base,)))
    for before, after in zip((one, two, base), (*moved.sides, *moved.bases), strict=True):
        assert sorted(before.values()) == sorted(after.values())
    for name, side in who.items():
        assert name in (one, two)[side]


def test_different_names_for_one_parameter_are_no_rename() -> None:
    base, one, two = _leaves(a=1), _leaves(b=1), _leaves(c=1)
    assert under_new_names(Terms((one, two), (base,))) == (Terms((one, two), (base,)), {})


def test_a_name_that_means_something_else_is_not_taken() -> None:
    base, one = _leaves(a=1), _leaves(b=1)
    for two in (_leaves(b=3), _leaves(a=2, b=3), _leaves(a=1, b=1)):
        assert under_new_names(Terms((one, two), (base,))) == (Terms((one, two), (base,)), {})
