"""Walks over the graph of commits, on random graphs."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from theta.history import ancestors, bases_of, merge_bases, merge_bases_among, nearest, reachable
from theta_store.ids import CommitId, RecordId, TreeId
from theta_store.records import Commit


class Graph:
    """Commits by number; each one's parents have smaller numbers."""

    def __init__(self, parents: list[tuple[int, ...]]) -> None:
        self.commits = {
            number: Commit(TreeId(_id(0)), tuple(map(_id, above)), "a", number % 3, 0, "")
            for number, above in enumerate(parents)
        }

    def commit(self, id_: CommitId) -> Commit:
        return self.commits[int.from_bytes(id_, "big")]


def _id(number: int) -> CommitId:
    return CommitId(RecordId(number.to_bytes(32, "big")))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    return Graph(
        [
            tuple(draw(st.lists(st.integers(0, n - 1), max_size=2, unique=True))) if n else ()
            for n in range(count)
        ]
    )


@given(graphs(), st.data())
def test_bases_among_tips_are_those_of_each_two(graph: Graph, data: st.DataObject) -> None:
    numbers = st.sampled_from(sorted(graph.commits))
    tips = [_id(n) for n in data.draw(st.lists(numbers, min_size=1, max_size=5))]
    expected: set[CommitId] = set()
    for one, two in combinations(set(tips), 2):
        expected.update(merge_bases(graph, one, two))
    assert merge_bases_among(list(ancestors(graph, tips)), tips) == expected


@given(graphs(), st.data())
def test_bases_of_groups_are_the_best_ancestors_that_all_share(
    graph: Graph, data: st.DataObject
) -> None:
    numbers = st.sampled_from(sorted(graph.commits))
    groups = data.draw(st.lists(st.lists(numbers, min_size=1, max_size=3), min_size=1, max_size=4))
    above = [reachable(graph, map(_id, group)).keys() for group in groups]
    shared = set.intersection(*map(set, above))
    best = {
        id_
        for id_ in shared
        if not any(id_ in reachable(graph, [other]) for other in shared - {id_})
    }
    found = bases_of(graph, [[_id(n) for n in group] for group in groups])
    assert set(found) == best
    assert list(found) == sorted(found)


@given(graphs(), st.data())
def test_nearest_are_the_shown_ancestors_without_one_between(
    graph: Graph, data: st.DataObject
) -> None:
    numbers = st.sampled_from(sorted(graph.commits))
    shown = {_id(n) for n in data.draw(st.sets(numbers))}
    start = _id(data.draw(numbers))
    found = nearest(graph, start, shown)
    assert len(set(found)) == len(found)
    below = reachable(graph, graph.commit(start).parents).keys() & shown
    assert set(found) <= below
    covered: set[CommitId] = set()
    for id_ in found:
        covered |= reachable(graph, [id_]).keys()
    assert below <= covered
