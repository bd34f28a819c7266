"""``theta stats``, and the merges that ask for statistics."""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch

W = (2, 3)


def _matrix(value: float) -> np.ndarray:
    return np.full(W, value, np.float32)


def _arrays(shell: Shell, name: str, **arrays: np.ndarray) -> Path:
    path = shell.folder / name
    save_file({key.replace("__", "."): value for key, value in arrays.items()}, path)
    return path


def _hidden(shell: Shell) -> list[str]:
    with shell.repo() as repo:
        return repo.store.refs.names("refs/stats/")


@pytest.fixture
def forked(model: Shell) -> Shell:
    """main and ``rte`` changed a matrix; both have Fisher information and Gram matrices."""
    model.commit("base", a=_matrix(0), b=2)
    branch(model, "rte", "main", a=_matrix(4), b=2)
    model.commit("ours", a=_matrix(1), b=2)
    _arrays(model, "f1", a=_matrix(3))
    _arrays(model, "f2", a=_matrix(1))
    _arrays(model, "g1", a=np.eye(3, dtype=np.float32))
    _arrays(model, "g2", a=3 * np.eye(3, dtype=np.float32))
    return model


def test_a_statistic_is_kept_listed_and_removed(forked: Shell) -> None:
    told = forked("stats", "add", "fisher", "f1", "--examples", "256")
    assert "theta undo" in told.err
    (row,) = forked("stats", "list", "--json").json["statistics"]
    assert row["kind"] == "fisher"
    note = row["models"]["m.safetensors"]
    assert (note["examples"], note["source"], note["normaliser"]) == (256, "f1", "mean")
    assert note["norm"] == pytest.approx(3 * 6**0.5)
    assert "256 examples" in forked("stats", "list", "HEAD").out
    assert forked("stats", "list", "rte").out == ""
    with forked.repo() as repo:
        kept = repo.stats.find("fisher")
        assert kept is not None
        assert kept.commit == repo.resolve("HEAD")
        assert repo.stats.find("gram") is None
    assert "would remove" in forked("stats", "remove", "fisher", "--dry-run").out
    assert len(_hidden(forked)) == 1
    forked("stats", "remove", "fisher")
    assert _hidden(forked) == []
    forked("undo")
    assert len(_hidden(forked)) == 1
    forked("undo")
    assert _hidden(forked) == []
    assert "no fisher" in forked("stats", "remove", "fisher", code=4).err


def test_hidden_refs_are_no_branches_and_are_kept(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1")
    assert [b["name"] for b in forked("branch", "--json").json["branches"]] == ["main", "rte"]
    assert forked("tag").out == ""
    assert "stats" not in forked("log", "--oneline").out + forked("log", "--graph").out
    assert forked("gc", "--now").code == 0
    forked("fsck")
    forked("du")
    forked("du", "--by", "commit")
    (row,) = forked("stats", "list", "--json").json["statistics"]
    with forked.repo() as repo:
        assert repo.store.complete([repo.store.refs.all("refs/stats/").popitem()[1]])
        assert row["commit"] == repo.resolve("HEAD").hex()


def test_what_is_forgotten_keeps_its_statistics_and_that_is_said(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "HEAD")
    forked.commit("next", a=_matrix(9), b=2)
    told = forked("forget", "HEAD~1").err
    assert "fisher" in told
    assert "theta stats remove" in told
    forked("gc", "--now")
    forked("fsck")
    assert forked("stats", "list").out.count("fisher") == 1
    forked("stats", "add", "gram", "g1", "HEAD")
    forked.commit("last", a=_matrix(8), b=2)
    told = forked("gc", "--keep-last", "1").err
    assert "1 statistic of them kept" in told


def test_what_is_known_of_a_commit_that_is_gone_can_be_removed(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "rte")
    id_ = forked("log", "rte", "-n", "1", "--json").json["commits"][0]["commit"]
    forked("branch", "-D", "rte")
    forked("gc", "--now")
    forked("fsck")
    assert "the commit is gone" in forked("stats", "list").out
    assert "no commit" in forked("stats", "remove", "fisher", "ffffffff", code=4).err
    forked("stats", "remove", "fisher", id_[:8])
    assert _hidden(forked) == []


@pytest.mark.parametrize(
    ("kind", "arrays", "told"),
    [
        ("fisher", {"a": np.zeros((3, 2), np.float32)}, "a is 3×2, the parameter 2×3"),
        ("fisher", {"c": np.zeros(W, np.float32)}, "c is no parameter of m.safetensors"),
        ("fisher", {"a": -_matrix(1)}, "values that no fisher has"),
        ("fisher", {"a": _matrix(float("nan"))}, "values that no fisher has"),
        ("fisher", {"a": np.zeros(W, np.int32)}, "floating-point"),
        ("gram", {"a": _matrix(1)}, "a is 2×3, the parameter 2×3"),
        ("gram", {"b": np.eye(4, dtype=np.float32)}, "b is 4×4, the parameter 4"),
        ("hessian", {"a": _matrix(1)}, "no kind of statistic"),
    ],
)
def test_what_does_not_fit_is_refused(
    forked: Shell, kind: str, arrays: dict[str, np.ndarray], told: str
) -> None:
    _arrays(forked, "x", **arrays)
    assert told in forked("stats", "add", kind, "x", code=2).err
    assert _hidden(forked) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("stats add fisher", 2),
        ("stats nope", 2),
        ("stats add fisher f1 --dry-run", 2),
        ("stats add fisher nowhere", 4),
        ("stats add fisher f1 nope", 4),
        ("stats add fisher README.md", 2),
    ],
)
def test_bad_words_are_named(forked: Shell, words: str, code: int) -> None:
    (forked.folder / "README.md").write_text("x")
    forked(*words.split(), code=code)
    assert _hidden(forked) == []


def test_npz_and_torch_files_are_read(forked: Shell) -> None:
    torch = pytest.importorskip("torch")
    np.savez(forked.folder / "f.npz", a=_matrix(1))
    forked("stats", "add", "fisher", "f.npz")
    torch.save({"a": torch.full(W, 2.0)}, forked.folder / "f.pt")
    forked("stats", "add", "fisher", "f.pt")
    (row,) = forked("stats", "list", "--json").json["statistics"]
    assert row["models"]["m.safetensors"]["source"] == "f.pt"


def test_a_merge_names_the_side_that_has_no_statistic(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "main")
    for strategy, kind, side in [("fisher", "fisher", "rte"), ("regmean", "gram", "(main|rte)")]:
        refused = forked("merge", "rte", "-s", strategy, code=2).err
        assert f"theta stats add {kind} FILE" in refused
        assert re.search(f"{side} has no {kind}", refused)
    assert forked.load()["a"] == 1


def test_fisher_information_weighs_a_merge_which_gets_the_sum(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "main", "--examples", "3")
    forked("stats", "add", "fisher", "f2", "rte", "--examples", "1")
    forked("merge", "rte", "-s", "fisher normalize=false")
    assert forked.load()["a"] == (3 * 1 + 1 * 4) / 4
    with forked.repo() as repo:
        kept = repo.stats.find("fisher")
        assert kept is not None
        note = kept.account.models["m.safetensors"]
        assert note.examples == 4
        assert note.source.startswith("sum of ")
        (name, tensor), *_ = repo.params(kept.id, "m.safetensors")
        values = np.frombuffer(repo.read_tensor(tensor), np.float32)
        assert name == "a"
        assert set(values) == {(3 * 3 + 1 * 1) / 4}
        assert note.norm == pytest.approx(2.5 * 6**0.5)
        (group,) = repo.recipe("HEAD").groups
        ids = [repo.stats.find("fisher", side).id.hex() for side in ("HEAD^1", "HEAD^2")]  # type: ignore[union-attr]
        assert group.statistics == {"fisher": ids}
    forked("undo")
    assert forked.load()["a"] == 1
    assert len(_hidden(forked)) == 2


def test_gram_matrices_decide_a_merge(forked: Shell) -> None:
    forked("stats", "add", "gram", "g1", "main")
    forked("stats", "add", "gram", "g2", "rte")
    forked("merge", "rte", "-s", "regmean")
    assert load_file(forked.folder / "m.safetensors")["a"] == pytest.approx(
        np.full(W, (1 + 3 * 4) / 4), rel=1e-5
    )
    (row,) = forked("stats", "list", "HEAD", "--json").json["statistics"]
    assert row["kind"] == "gram"


def test_a_replay_reads_what_the_merge_read(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "main")
    forked("stats", "add", "fisher", "f2", "rte")
    forked("merge", "rte", "-s", "fisher")
    _arrays(forked, "f3", a=_matrix(100))
    forked("stats", "add", "fisher", "f3", "HEAD^2")
    assert "the same tree" in forked("merge", "--replay", "HEAD").out


def test_a_merge_of_a_merge_has_what_it_needs(forked: Shell) -> None:
    forked("stats", "add", "fisher", "f1", "main")
    forked("stats", "add", "fisher", "f2", "rte")
    branch(forked, "mnli", "main~1", a=_matrix(8), b=2)
    forked("stats", "add", "fisher", "f2", "mnli")
    forked("merge", "rte", "-s", "fisher")
    forked("merge", "mnli", "-s", "fisher")
    with forked.repo() as repo:
        kept = repo.stats.find("fisher")
        assert kept is not None
        assert kept.account.models["m.safetensors"].examples == 3


def test_many_sides_are_summed_and_so_is_a_merge_that_waits(forked: Shell) -> None:
    branch(forked, "mnli", "main~1", a=_matrix(8), b=2)
    for number, side in enumerate(("main", "rte", "mnli"), 1):
        forked("stats", "add", "fisher", f"f{1 + number % 2}", side, "--examples", str(number))
    forked("merge", "rte", "mnli", "-s", "fisher", "--no-commit")
    assert len(_hidden(forked)) == 3
    forked("commit", "-m", "merged")
    with forked.repo() as repo:
        kept = repo.stats.find("fisher")
        assert kept is not None
        (_, tensor), *_ = repo.params(kept.id, "m.safetensors")
        values = np.frombuffer(repo.read_tensor(tensor), np.float32)
        assert values == pytest.approx((1 * 1 + 2 * 3 + 3 * 1) / 6)
    forked("undo")
    assert len(_hidden(forked)) == 3


def test_a_module_of_torch_is_looked_at(forked: Shell) -> None:
    torch = pytest.importorskip("torch")
    named = torch.nn.Sequential(OrderedDict(fc=torch.nn.Linear(3, 2, bias=False)))
    forked.save(fc__weight=named.fc.weight.detach().numpy())
    forked.commit("linear")
    with forked.repo() as repo:
        for kind, shape in [("fisher", (2, 3)), ("gram", (3, 3))]:
            kept = repo.stats.compute(kind, named, [torch.randn(8, 3)], examples=8)
            assert kept.account.models["m.safetensors"].examples == 8
            ((name, tensor),) = repo.params(kept.id, "m.safetensors")
            assert (name, tensor.shape) == ("fc.weight", shape)
        assert repo.stats.find("fisher").account.models["m.safetensors"].labels == "expected"  # type: ignore[union-attr]


def test_each_model_of_a_commit_has_its_own(forked: Shell) -> None:
    forked.save("other.safetensors", a=_matrix(1))
    forked("add", "other.safetensors")
    forked.commit("two")
    assert "2 checkpoints" in forked("stats", "add", "fisher", "f1", code=4).err
    forked("stats", "add", "fisher", "f1", "HEAD:m.safetensors")
    forked("stats", "add", "fisher", "f2", "HEAD:other.safetensors")
    (row,) = forked("stats", "list", "--json").json["statistics"]
    assert {path: note["source"] for path, note in row["models"].items()} == {
        "m.safetensors": "f1",
        "other.safetensors": "f2",
    }
