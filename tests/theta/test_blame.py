"""Blame in random histories: whoever is named gave the value, and nobody above had it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.theta.merge.stored import put
from theta.blame import blame
from theta.diff import build_tree
from theta.params import build_params
from theta_store.ids import CheckpointId, CommitId, TensorId, TreeId
from theta_store.records import Checkpoint, Commit, File, TreeEntry
from theta_store.store import Store

NAMES = ("a", "b.c", "b.d")
VALUES = 3
# For each commit: which earlier ones are its parents, and the value of each name (None: absent).
History = list[tuple[set[int], tuple[int | None, ...]]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    value = st.one_of(st.none(), st.integers(0, VALUES - 1))
    values = st.tuples(*[value] * len(NAMES))
    first: History = [(set(), draw(values))]
    for number in range(1, draw(st.integers(1, 10))):
        parents = draw(st.sets(st.integers(max(0, number - 4), number - 1), min_size=1, max_size=3))
        first.append((parents, draw(values)))
    return first


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, list[TensorId]]]:
    folder: Path = tmp_path_factory.mktemp("blame") / "store"
    with Store.create(folder, head="refs/heads/main") as made:
        yield made, put(made, *(np.full(2, n, np.float32) for n in range(VALUES)))


def _commits(store: Store, tensors: list[TensorId], history: History) -> list[CommitId]:
    made: list[CommitId] = []
    with store.session() as session:
        layout = session.put_bytes(b"layout")
        for number, (parents, values) in enumerate(history):
            pairs = zip(NAMES, values, strict=True)
            leaves = {name: tensors[value] for name, value in pairs if value is not None}
            root = build_params(leaves, session)
            record = Checkpoint("safetensors", 1, (File("", layout, {}),), root, {})
            entry = TreeEntry("m", "checkpoint", CheckpointId(session.put_record(record)))
            tree = build_tree({"m": entry}, lambda node: TreeId(session.put_record(node)))
            ids = tuple(made[parent] for parent in sorted(parents))
            # Clocks that go backwards must not matter.
            commit = Commit(tree, ids, "a", 1000 - number, 0, f"{number}")
            made.append(CommitId(session.put_record(commit)))
        session.flush()
    return made


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=histories())
def test_the_blamed_gave_the_value(store: tuple[Store, list[TensorId]], history: History) -> None:
    opened, tensors = store
    ids = _commits(opened, tensors, history)
    tip = history[-1][1]
    wanted = [name for name, value in zip(NAMES, tip, strict=True) if value is not None]
    answers = list(blame(opened, ids[-1], "m", wanted))
    found = {each.name: each for each in answers}
    assert sorted(each.name for each in answers) == sorted(wanted)
    for place, name in enumerate(NAMES):
        if name not in found:
            continue
        at = ids.index(found[name].commit)
        parents, values = history[at]
        assert values[place] == tip[place]
        assert all(history[parent][1][place] != tip[place] for parent in parents)
        # A line of commits with the value leads from the tip to the one that is blamed.
        line = {len(history) - 1}
        while at not in line:
            more = {p for n in line for p in history[n][0] if history[p][1][place] == tip[place]}
            assert not more <= line
            line |= more
        assert not found[name].at_least
