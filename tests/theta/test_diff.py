"""Walks over trees by ids: folders that are built, overlaid and compared."""

from hypothesis import given
from hypothesis import strategies as st

from theta.diff import build_tree, diff_trees, flatten_tree, overlaid
from theta_store.encoding import encode
from theta_store.ids import RecordId, TreeId, record_id
from theta_store.records import Tree, TreeEntry


class Trees:
    """Folders in memory."""

    def __init__(self) -> None:
        self.records: dict[TreeId, Tree] = {}

    def put(self, tree: Tree) -> TreeId:
        id_ = TreeId(record_id(tree.kind, encode(tree)))
        self.records[id_] = tree
        return id_

    def tree(self, id_: TreeId) -> Tree:
        return self.records[id_]


def _entry(path: str, number: int) -> TreeEntry:
    return TreeEntry(path.rpartition("/")[2], "blob", RecordId(number.to_bytes(32, "big")))


def _clashes(one: str, other: str) -> bool:
    return one.startswith(other + "/") or other.startswith(one + "/")


@st.composite
def folders(draw: st.DrawFn) -> dict[str, TreeEntry]:
    steps = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
    entries: dict[str, TreeEntry] = {}
    for path, number in draw(st.dictionaries(steps, st.integers(0, 3), max_size=6)).items():
        if not any(_clashes(path, other) for other in entries):
            entries[path] = _entry(path, number)
    return entries


@given(folders())
def test_a_tree_holds_the_files_it_was_built_of(entries: dict[str, TreeEntry]) -> None:
    trees = Trees()
    assert dict(flatten_tree(trees, build_tree(entries, trees.put))) == entries


@given(folders(), folders())
def test_overlaid_files_make_a_tree_and_lose_only_what_clashes(
    below: dict[str, TreeEntry], above: dict[str, TreeEntry]
) -> None:
    both = overlaid(below, above)
    trees = Trees()
    assert dict(flatten_tree(trees, build_tree(both, trees.put))) == both
    assert {path: both[path] for path in above} == above
    lost = below.keys() - both.keys()
    assert all(any(_clashes(path, other) for other in above) for path in lost)
    assert all(both[path] == below[path] for path in both.keys() - above.keys())


@given(folders(), folders())
def test_two_trees_differ_where_their_files_do(
    before: dict[str, TreeEntry], after: dict[str, TreeEntry]
) -> None:
    trees = Trees()
    old, new = build_tree(before, trees.put), build_tree(after, trees.put)
    found = {c.path: (c.before, c.after) for c in diff_trees(trees, old, new)}
    expected = {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }
    assert found == expected
