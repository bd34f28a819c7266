"""What a commit may be told: what a record cannot hold is refused before anything is stored."""

import math
from typing import Any

import numpy as np
import pytest

from theta.repo import Author, Details, Repo
from theta_store.errors import MalformedRecord, NothingToCommit, UsageError
from theta_store.ids import CommitId
from theta_store.records import Commit
from theta_store.store import Operation, RefChange


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"meta": {"a": 1}}, r"meta\['a'\] is of type int"),
        ({"meta": {"a": None}}, r"meta\['a'\] is of type NoneType"),
        ({"meta": {"a": [1]}}, r"meta\['a'\] is of type list"),
        ({"meta": {1: "a"}}, "a name in meta is of type int"),
        ({"meta": [("a", "b")]}, "meta is of type list"),
        ({"meta": {"a": "\ud800"}}, "not valid UTF-8"),
        ({"step": "5"}, "step is of type str"),
        ({"step": 5.0}, "step is of type float"),
        ({"step": True}, "step is of type bool"),
        ({"step": np.bool_(True)}, "step is of type bool"),
        ({"step": 2**64}, "out of range"),
        ({"metrics": {"l": "2"}}, r"metrics\['l'\] is of type str"),
        ({"metrics": {"l": None}}, r"metrics\['l'\] is of type NoneType"),
        ({"metrics": {"l": False}}, r"metrics\['l'\] is of type bool"),
        ({"metrics": {"l": math.inf}}, "finite or nan"),
        ({"metrics": {"l": np.float32(-np.inf)}}, "finite or nan"),
        ({"metrics": {"l": 10**400}}, "finite or nan"),
        ({"metrics": {"l": np.zeros(2)}}, r"metrics\['l'\] is of type ndarray"),
        ({"branch": 5}, "branch is of type int"),
        ({"as_name": b"x"}, "as_name is of type bytes"),
    ],
)
def test_details_that_no_record_holds(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Details(**fields)


def test_authors_that_no_record_holds() -> None:
    for fields, told in [
        ((5,), "of type int"),
        (("a", 1.5), "of type float"),
        (("a", 1440), "range"),
    ]:
        with pytest.raises(UsageError, match=told):
            Author(*fields)  # type: ignore[arg-type]


def test_scalars_of_numpy_are_numbers_and_text(repo: Repo) -> None:
    (repo.root / "a.txt").write_text("a")
    repo.add(["a.txt"])
    details: Any = {"step": np.int64(7), "metrics": {np.str_("l"): np.float32(2.5), "n": np.nan}}
    details |= {"meta": {np.str_("k"): np.str_("v")}}
    author = Author(np.str_("Ada"), np.int32(60))  # type: ignore[arg-type]
    repo.commit("c", author=author, details=Details(**details))
    ((_, commit),) = repo.log()
    assert (commit.step, commit.metrics["l"], commit.meta) == (7, 2.5, {"k": "v"})
    assert math.isnan(commit.metrics["n"])
    assert (commit.author, commit.zone) == ("Ada", 60)


def test_what_is_refused_is_refused_before_any_file_is_looked_at(repo: Repo, ada: Author) -> None:
    with pytest.raises(NothingToCommit):
        repo.commit("m", author=ada)
    calls: list[tuple[Any, Any]] = [("m", "Ada"), (5, ada), ("\ud800", ada)]
    for message, author in calls:
        with pytest.raises(UsageError):
            repo.commit(message, author=author)


def test_head_moves_off_a_commit_that_cannot_be_read(repo: Repo, ada: Author) -> None:
    file = repo.root / "a.txt"
    file.write_text("a")
    repo.add(["a.txt"])
    good = repo.commit("good", author=ada).id
    for leave in ("undo", "reset", "reset --hard"):
        _commit_badly(repo)
        with pytest.raises(MalformedRecord):
            repo.status()
        file.write_text(leave)
        if leave == "undo":
            repo.undo()
        else:
            repo.reset("HEAD@{1}", hard=leave == "reset --hard")
        assert repo.head.commit == good
        assert repo.status().clean == (leave == "reset --hard")
        assert [commit.message for _, commit in repo.log()] == ["good"]


def _commit_badly(repo: Repo) -> None:
    """Commit as a theta did that took the values of ``meta`` for text."""
    head = repo.head
    assert head.commit is not None
    assert head.branch is not None
    tree = repo.store.commit(head.commit).tree
    meta: Any = {"a": 1}
    with repo.store.session() as session:
        commit = Commit(tree, (head.commit,), "a", 1, 0, "bad", meta=meta)
        id_ = CommitId(session.put_record(commit))
        change = RefChange(head.branch, head.commit, id_)
        session.publish(Operation(0, 0, "commit", "bad", (change,)), commits=[id_])
