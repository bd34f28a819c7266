"""What users type to mean a commit, a file of it, or a parameter in it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theta.repo import Author, Details, Repo
from theta.revision import Address, check_ref_name, direction_of, parse_address
from theta_store.errors import InvalidName, UnknownRevision
from theta_store.ids import CommitId, short

ADA = Author("Ada")


def _commit(repo: Repo, text: str, **details: object) -> CommitId:
    (repo.root / "a.txt").write_text(text)
    repo.add(["a.txt"])
    return repo.commit(text, author=ADA, details=Details(**details)).id  # type: ignore[arg-type]


@pytest.fixture
def line(repo: Repo) -> list[CommitId]:
    """Four commits on main with steps 0, 100, 200, 300 and two metrics."""
    losses, scores = [3.0, 1.0, float("nan"), 2.0], [0.1, 0.2, 0.9, 0.3]
    return [
        _commit(repo, f"c{n}", step=100 * n, metrics={"val_loss": losses[n], "acc": scores[n]})
        for n in range(4)
    ]


def test_names_head_ids_and_steps_back(repo: Repo, line: list[CommitId]) -> None:
    repo.create_tag("v1", "main~2")
    for text, number in [
        ("HEAD", 3),
        ("@", 3),
        ("main", 3),
        ("refs/heads/main", 3),
        ("main~", 2),
        ("main~2", 1),
        ("HEAD^", 2),
        ("HEAD^0", 3),
        ("main~1^~1", 0),
        ("v1", 1),
        ("v1~1", 0),
        (short(line[2]), 2),
        (line[2].hex(), 2),
    ]:
        assert repo.resolve(text) == line[number], text


def test_a_tag_wins_over_a_branch_of_the_same_name(repo: Repo, line: list[CommitId]) -> None:
    repo.create_branch("x", "main~1")
    repo.create_tag("x", "main~2")
    assert repo.resolve("x") == line[1]
    assert repo.resolve("refs/heads/x") == line[2]


def test_second_parents(repo: Repo, line: list[CommitId]) -> None:
    repo.switch("side", create=True, start="main~1")
    (repo.root / "b.txt").write_text("b")
    repo.add(["b.txt"])
    side = repo.commit("side", author=ADA).id
    repo.switch("main")
    repo.merge(repo.plan_merge("side"), repo.merge_method(), author=ADA)
    assert repo.resolve("HEAD^2") == side
    assert repo.resolve("HEAD^1") == repo.resolve("HEAD^") == line[3]
    with pytest.raises(UnknownRevision, match="has 2 parents"):
        repo.resolve("HEAD^3")


def test_steps_and_best_metrics(repo: Repo, line: list[CommitId]) -> None:
    assert repo.resolve("step:0") == line[0]
    assert repo.resolve("step:200") == line[2]
    assert repo.resolve("step:200~1") == line[1]
    assert repo.resolve("best:val_loss") == line[1], "NaN is never the best"
    assert repo.resolve("best:acc") == line[2]
    repo.config.set("metric.acc", "min")
    assert repo.resolve("best:acc") == line[0]
    for text in ("step:5", "step:x", "step:", "best:nope"):
        with pytest.raises(UnknownRevision):
            repo.resolve(text)


def test_a_step_means_the_newest_commit_that_says_it(repo: Repo, line: list[CommitId]) -> None:
    again = _commit(repo, "again", step=100)
    assert repo.resolve("step:100") == again
    repo.reset("HEAD~1")
    assert repo.resolve("step:100") == line[1], "HEAD's history comes first"


def test_steps_and_metrics_of_other_branches(repo: Repo, line: list[CommitId]) -> None:
    repo.create_branch("run", "main")
    run = [
        _commit(repo, f"r{n}", branch="run", step=1000 * n, metrics={"bleu": bleu})
        for n, bleu in enumerate([0.1, 0.9, 0.4], 1)
    ]
    assert repo.resolve("step:2000") == run[1], "one branch alone has it"
    assert repo.resolve("best:bleu") == run[1]
    assert repo.resolve("best:acc") == line[2], "HEAD's history comes first"
    repo.create_branch("copy", "run~1")
    assert repo.resolve("step:2000") == run[1], "both mean the same commit"
    assert repo.resolve("best:bleu") == run[1]
    other = _commit(repo, "other", branch="copy", step=2000, metrics={"bleu": 0.95})
    with pytest.raises(UnknownRevision) as caught:
        repo.resolve("step:2000")
    assert f"copy ({short(other)}), run ({short(run[1])})" in str(caught.value)
    with pytest.raises(UnknownRevision, match=r"best:bleu is another commit in each"):
        repo.resolve("best:bleu")
    assert repo.resolve("step:3000") == run[2]
    assert repo.forget(["step:1000"]) == [run[0]]
    repo.switch("run", force=True)
    assert repo.resolve("step:2000") == run[1], "HEAD's history comes first"


def test_where_a_branch_was(repo: Repo, line: list[CommitId]) -> None:
    assert [repo.resolve(f"main@{{{n}}}") for n in range(4)] == line[::-1]
    assert repo.resolve("main@{1}~1") == line[1]
    repo.reset("main~2")
    assert repo.resolve("main@{0}") == line[1]
    assert repo.resolve("main@{1}") == line[3]
    repo.undo()
    assert repo.resolve("main@{1}") == line[1]
    with pytest.raises(UnknownRevision, match="before the first position"):
        repo.resolve("main@{99}")
    with pytest.raises(UnknownRevision):
        repo.resolve("nope@{0}")


def test_where_head_was(repo: Repo, line: list[CommitId]) -> None:
    repo.create_branch("side", "main~2")
    assert [repo.resolve(f"@{{{n}}}") for n in range(4)] == line[::-1]
    repo.switch("side")
    assert repo.resolve("@{0}") == repo.resolve("HEAD@{0}") == line[1]
    assert repo.resolve("@{1}") == line[3]
    new = _commit(repo, "new")
    assert repo.resolve("@{1}") == line[1]
    repo.switch("main~3", detach=True)
    assert [repo.resolve(f"@{{{n}}}") for n in range(4)] == [line[0], new, line[1], line[3]]
    assert repo.resolve("main@{0}") == line[3], "a branch that HEAD left has not moved"


def test_where_a_deleted_branch_was(repo: Repo, line: list[CommitId]) -> None:
    repo.create_branch("x", "main~1")
    repo.create_branch("x", "main~2", force=True)
    repo.delete_branch("x")
    assert repo.resolve("x@{0}") == line[1]
    assert repo.resolve("x@{1}") == line[2]


def test_what_names_nothing_gets_a_hint(repo: Repo, line: list[CommitId]) -> None:
    with pytest.raises(UnknownRevision) as caught:
        repo.resolve("mian")
    assert "did you mean main?" in str(caught.value.hint)
    for text in ("abc", "0" * 64, "main~99", "main^2", "x" * 65):
        with pytest.raises(UnknownRevision):
            repo.resolve(text)
    with (
        pytest.raises(UnknownRevision, match="no commit yet"),
        Repo.init(Path(repo.root) / "inner") as empty,
    ):
        empty.resolve("HEAD")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("main", ("main", None, None)),
        ("main:a/b.pt", ("main", "a/b.pt", None)),
        ("main:a.pt::enc.w", ("main", "a.pt", "enc.w")),
        ("main::enc.w", ("main", None, "enc.w")),
        ("::enc.w", (None, None, "enc.w")),
        (":a.pt", (None, "a.pt", None)),
        ("step:100", ("step:100", None, None)),
        ("step:100:a.pt", ("step:100", "a.pt", None)),
        ("best:val_loss~1:a.pt::w", ("best:val_loss~1", "a.pt", "w")),
        ("main:a.pt::x::y", ("main", "a.pt", "x::y")),
        ("main:", ("main", None, None)),
    ],
)
def test_addresses(text: str, parts: tuple[str | None, str | None, str | None]) -> None:
    assert parse_address(text) == Address(*parts)


def test_directions() -> None:
    assert direction_of("val_loss", {}) == direction_of("word_error_rate", {}) == "min"
    assert direction_of("accuracy", {}) == "max"
    assert direction_of("val_loss", {"val_loss": "max"}) == "max"


@given(st.text(max_size=12))
def test_a_name_that_is_allowed_reads_as_itself(name: str) -> None:
    try:
        check_ref_name(name)
    except InvalidName:
        return
    assert parse_address(name) == Address(name)
    assert not name.startswith("-")
