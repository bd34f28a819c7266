"""Names and the tree that keeps them: what is built is read again, in few looks."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.params import build_params, find, flatten
from theta_store.encoding import identify
from theta_store.errors import InvalidName
from theta_store.ids import ParamsId, RecordId, TensorId
from theta_store.records import Params

NAMES = st.text(".ab\u00e9\U0001f600", max_size=6)


class Nodes:
    """Nodes in memory; ``looks`` are the ids asked for together."""

    def __init__(self) -> None:
        self.records: dict[RecordId, Params] = {}
        self.looks: list[list[ParamsId]] = []

    def put_records(self, records: Sequence[Params]) -> list[RecordId]:
        ids = [identify(record) for record in records]
        self.records |= zip(ids, records, strict=True)
        return ids

    def params(self, id_: ParamsId) -> Params:
        return self.records[id_]

    def nodes(self, ids: Iterable[ParamsId]) -> list[Params]:
        self.looks.append(list(ids))
        return [self.records[id_] for id_ in self.looks[-1]]


def _ids(names: Iterable[str]) -> dict[str, TensorId]:
    return {name: TensorId(RecordId(n.to_bytes(32, "big"))) for n, name in enumerate(names)}


@given(st.lists(NAMES, unique=True))
def test_any_names_come_back(names: list[str]) -> None:
    nodes = Nodes()
    leaves = _ids(names)
    root = build_params(leaves, nodes)
    found = list(flatten(nodes, root))
    assert dict(found) == leaves
    assert len(found) == len(leaves)
    assert [name.split(".") for name, _ in found] == sorted(name.split(".") for name in names)
    assert all(find(nodes, root, name) == id_ for name, id_ in leaves.items())


@given(st.lists(NAMES, unique=True))
def test_the_order_of_names_makes_no_other_tree(names: list[str]) -> None:
    leaves = _ids(names)
    turned = dict(reversed(leaves.items()))
    assert build_params(leaves, Nodes()) == build_params(turned, Nodes())


def test_nodes_of_one_depth_are_read_together_and_each_once() -> None:
    nodes = Nodes()
    (same,) = _ids("x").values()
    root = build_params({f"layers.{n}.w": same for n in range(3)}, nodes)
    assert [name for name, _ in flatten(nodes, root)] == [f"layers.{n}.w" for n in range(3)]
    assert [len(look) for look in nodes.looks] == [1, 1, 1]


def test_a_node_in_several_depths_is_read_once() -> None:
    nodes = Nodes()
    (same,) = _ids("x").values()
    root = build_params({"a.w": same, "b.c.w": same}, nodes)
    assert [name for name, _ in flatten(nodes, root)] == ["a.w", "b.c.w"]
    assert [len(look) for look in nodes.looks] == [1, 2]


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidName):
        build_params(_ids(["a.\ud800"]), Nodes())
