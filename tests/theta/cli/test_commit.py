"""``theta commit``: branches that go on elsewhere, other names, guards, and what amending keeps."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.theta.cli.conftest import Shell
from theta.repo import Author, Details
from theta_store.errors import GuardFailed, NothingToCommit, UsageError
from theta_store.kernels import native

ADA = Author("Ada")


def _paths(shell: Shell, revision: str) -> set[str]:
    return {row["path"] for row in shell("ls", revision, "--json").json["files"]}


# --branch -------------------------------------------------------------------------------------


def test_branch_is_made_and_advanced_while_head_stays(model: Shell) -> None:
    head = model("log", "--json").json["commits"][0]["commit"]
    model.save(a=1, b=3)
    first = model("commit", "-m", "one", "--branch", "run", "--json").json
    assert first["parents"] == [head]
    assert first["branch"] == "run"
    model.save(a=1, b=4)
    second = model("commit", "-m", "two", "--branch", "run", "--json").json
    assert second["parents"] == [first["commit"]]
    with model.repo() as repo:
        assert repo.head.branch == "refs/heads/main"
        assert repo.resolve("HEAD").hex() == head
        assert repo.resolve("run").hex() == second["commit"]
    assert model.load() == {"a": 1, "b": 4}
    model("undo")
    with model.repo() as repo:
        assert repo.resolve("run").hex() == first["commit"]


def test_branch_of_head_is_an_ordinary_commit(model: Shell) -> None:
    head = model("log", "--json").json["commits"][0]["commit"]
    model.save(a=5, b=2)
    done = model("commit", "-m", "x", "--branch", "main", "--json").json
    assert done["parents"] == [head]
    assert model("status", "--json").json["clean"]


def test_nothing_changed_names_the_branch(model: Shell) -> None:
    assert "as HEAD has it" in model("commit", "-m", "x", "--branch", "run", code=1).err
    model("branch", "run")
    assert "as run has it" in model("commit", "-m", "x", "--branch", "run", code=1).err
    model("commit", "-m", "x", "--branch", "bad..name", code=2)


def test_what_only_the_branch_has_was_never_here_and_is_kept(model: Shell) -> None:
    model.save("ck/w.safetensors", w=1)
    model("commit", "ck", "--as", "model", "--branch", "run", "-m", "as")
    model.save(a=9, b=2)
    model("commit", "--branch", "run", "-m", "tracked")
    assert _paths(model, "run") == {"m.safetensors", "model/w.safetensors"}
    assert _paths(model, "HEAD") == {"m.safetensors"}


def test_paths_on_another_branch_change_only_those(model: Shell) -> None:
    (model.folder / "a.txt").write_text("a")
    model("add", "a.txt")
    model.save(a=7, b=7)
    model("commit", "-m", "only a", "--branch", "run", "a.txt")
    with model.repo() as repo:
        head, run = repo.entries(repo.resolve("HEAD")), repo.entries(repo.resolve("run"))
        assert run["m.safetensors"] == head["m.safetensors"]
        assert "a.txt" in run


# --as -----------------------------------------------------------------------------------------


def test_a_folder_is_committed_under_another_name(model: Shell) -> None:
    model.save("checkpoint-1000/w.safetensors", w=1)
    (model.folder / "checkpoint-1000" / "config.json").write_text("{}")
    model.save(a=8, b=8)
    model("commit", "checkpoint-1000", "--as", "model", "-m", "step 1000")
    assert _paths(model, "HEAD") == {"m.safetensors", "model/config.json", "model/w.safetensors"}
    files = {f["path"]: f["state"] for f in model("status", "--json").json["files"]}
    assert files == {
        "m.safetensors": "changed",
        "model/config.json": "not checked out",
        "model/w.safetensors": "not checked out",
    }


def test_files_not_checked_out_are_kept_by_the_next_commit_and_restored(model: Shell) -> None:
    model.save("ck/w.safetensors", w=1)
    model("commit", "ck", "--as", "model", "-m", "as")
    assert model("status", "--json").json["clean"]
    model.commit("next", a=3, b=3)
    assert "model/w.safetensors" in _paths(model, "HEAD")
    model("restore", "model")
    assert model.load("model/w.safetensors") == {"w": 1}
    (model.folder / "model" / "w.safetensors").unlink()
    assert model("status", "--json").json["files"][0]["state"] == "deleted"


def test_a_file_that_appears_under_the_name_is_looked_after(model: Shell) -> None:
    model.save("ck/w.safetensors", w=1)
    model("commit", "ck", "--as", "model", "-m", "as")
    model.save("model/w.safetensors", w=2)
    assert model("status", "--json").json["files"][0]["state"] == "changed"
    model("commit", "-m", "mine")
    (model.folder / "model" / "w.safetensors").unlink()
    assert model("status", "--json").json["files"][0]["state"] == "deleted"


def test_a_second_commit_under_the_name_replaces_it_and_shares_the_rest(model: Shell) -> None:
    big = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    model.save("ck/w.safetensors", w=1, big=big)
    (model.folder / "ck" / "old.txt").write_text("old")
    model("commit", "ck", "--as", "model", "-m", "one")
    model.save("ck2/w.safetensors", w=2, big=big)
    done = model("commit", "ck2", "--as", "model", "-m", "two", "--json").json
    assert _paths(model, "HEAD") == {"m.safetensors", "model/w.safetensors"}
    assert done["stored_bytes"] < big.nbytes / 100
    assert done["logical_bytes"] > big.nbytes


def test_a_single_file_from_outside_under_another_name(model: Shell, tmp_path: Path) -> None:
    model.save(str(tmp_path / "elsewhere" / "x.safetensors"), w=5)
    model("commit", "../elsewhere/x.safetensors", "--as", "best.safetensors", "-m", "x")
    model("restore", "best.safetensors")
    assert model.load("best.safetensors") == {"w": 5}


def test_a_sharded_model_named_by_its_index_brings_its_shards(model: Shell) -> None:
    model.save("ck/s1.safetensors", a=1)
    model.save("ck/s2.safetensors", b=2)
    index = '{"metadata": {}, "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}'
    name = "m.safetensors.index.json"
    (model.folder / "ck" / name).write_text(index)
    model("commit", f"ck/{name}", "--as", f"out/{name}", "-m", "sharded")
    model("restore", "out")
    assert (model.folder / "out" / name).read_text() == index
    assert model.load("out/s2.safetensors") == {"b": 2}


def test_ignored_files_of_the_folder_stay_out(model: Shell) -> None:
    (model.folder / ".thetaignore").write_text("optimizer.pt\nck*\n")
    (model.folder / "ck").mkdir()
    (model.folder / "ck" / "optimizer.pt").write_text("x")
    (model.folder / "ck" / "a.txt").write_text("a")
    model("commit", "ck", "--as", "model", "-m", "as")
    assert _paths(model, "HEAD") == {"m.safetensors", "model/a.txt"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--as", "model"), 2),
        (("ck", "m.safetensors", "--as", "model"), 2),
        (("ck", "--as", "."), 2),
        (("ck", "--as", "../out"), 9),
        (("ck", "--as", ".theta/x"), 9),
        (("ck", "--as", "x/.theta/y"), 9),
        ((".theta", "--as", "model"), 9),
        (("ck", "--as", "m.safetensors/x"), 2),
        (("nothing", "--as", "model"), 4),
        (("empty", "--as", "model"), 4),
    ],
)
def test_names_and_sources_that_cannot_be(model: Shell, words: tuple[str, ...], code: int) -> None:
    model.save("ck/w.safetensors", w=1)
    (model.folder / "empty").mkdir()
    head = model("log", "--json").json["commits"]
    model("commit", "-m", "x", *words, code=code)
    assert model("log", "--json").json["commits"] == head
    assert model("status", "--json").json["clean"]


def test_a_waiting_merge_is_committed_as_a_whole(model: Shell) -> None:
    model("switch", "-c", "other")
    model.commit("theirs", a=2, b=2)
    model("switch", "main")
    model.commit("ours", a=3, b=2)
    model("merge", "other", "-s", "average", "--no-commit")
    for words in (["--branch", "x"], ["m.safetensors"], ["m.safetensors", "--as", "n"]):
        assert "a merge waits" in model("commit", "-m", "x", *words, code=2).err
    model("commit", "-m", "merge")


# --guard --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (torch.float32, math.nan),
        (torch.float32, -math.inf),
        (torch.float16, math.inf),
        (torch.float64, math.nan),
        (torch.bfloat16, math.nan),
        (torch.float8_e4m3fn, math.nan),
        (torch.float8_e5m2, math.inf),
        (torch.complex64, complex(0, math.inf)),
    ],
)
def test_guard_names_what_is_not_finite(model: Shell, kind: torch.dtype, bad: complex) -> None:
    values = torch.zeros(3, 5).to(kind)
    values[2, 4] = bad
    state = {"good": torch.zeros(2).to(kind), "bad": values}
    save_file(state, model.folder / "n.safetensors")
    model("add", "n.safetensors")
    error = model("commit", "-m", "x", "--guard", "finite", code=9).err
    assert "n.safetensors::bad;" in error
    assert "good" not in error
    assert len(model("log", "--json").json["commits"]) == 1
    model("commit", "-m", "x")


def test_guard_looks_only_at_what_changed(model: Shell) -> None:
    model.commit("a NaN nobody guarded", a=float("nan"), b=2)
    model.save(a=float("nan"), b=3)
    model("commit", "-m", "x", "--guard", "finite")
    model.save(a=float("nan"), b=float("inf"))
    assert "::b;" in model("commit", "-m", "x", "--guard", "finite", code=9).err


def test_guard_finds_a_nan_in_the_last_chunk_of_a_large_tensor(model: Shell) -> None:
    large = np.zeros((1200, 500), np.float32)
    large[-1, -1] = np.nan
    model.save(a=1, b=2, large=large)
    assert "large" in model("commit", "-m", "x", "--guard", "finite", code=9).err


def test_whole_numbers_are_finite_and_guards_have_names(model: Shell) -> None:
    model.save(a=1, b=2, n=np.full(3, 0x7FC00000, np.int32))
    model("commit", "-m", "x", "--guard", "nonsense", code=2)
    model("commit", "-m", "x", "--guard", "finite")


# --amend and details --------------------------------------------------------------------------


def test_amend_keeps_what_is_not_given(model: Shell) -> None:
    words = ["--step", "5", "--metric", "loss=1", "--metric", "acc=0.5", "--meta", "run=x"]
    model.commit("one", *words, a=2, b=2)
    model.save(a=3, b=2)
    model("commit", "--amend", "--metric", "acc=0.7", "--meta", "lr=1")
    commit = model("log", "--json").json["commits"][0]
    assert commit["message"] == "one"
    assert commit["step"] == 5
    assert commit["metrics"] == {"loss": 1, "acc": 0.7}
    assert commit["meta"] == {"run": "x", "lr": "1"}
    assert len(model("log", "--json").json["commits"]) == 2
    model("undo")
    assert model("log", "--json").json["commits"][0]["metrics"] == {"loss": 1, "acc": 0.5}


def test_amend_of_a_merge_keeps_its_parents_and_its_recipe(model: Shell) -> None:
    model("switch", "-c", "other")
    model.commit("theirs", a=2, b=2)
    model("switch", "main")
    model.commit("ours", a=3, b=2)
    model("merge", "other", "-s", "average")
    with model.repo() as repo:
        before = repo.store.commit(repo.resolve("HEAD"))
    model("commit", "--amend", "-m", "better words")
    with model.repo() as repo:
        after = repo.store.commit(repo.resolve("HEAD"))
    assert after.parents == before.parents
    assert after.recipe == before.recipe is not None


def test_amend_on_another_branch_replaces_its_tip(model: Shell) -> None:
    model("commit", "--amend", "--branch", "new", "-m", "x", code=2)
    model.save(a=5, b=5)
    model("commit", "-m", "one", "--branch", "run", "--step", "3")
    model.save(a=6, b=5)
    model("commit", "--amend", "--branch", "run")
    commits = model("log", "run", "--json").json["commits"]
    assert [c["message"] for c in commits] == ["one", "first"]
    assert commits[0]["step"] == 3


def test_verbose_lists_what_was_stored(model: Shell) -> None:
    model.save(a=1, b=9)
    told = model("commit", "-v", "-m", "x").err
    assert "changed  m.safetensors  (1 parameter)" in told
    model.save(a=1, b=8)
    assert "m.safetensors" in model("-v", "commit", "-m", "x").err
    model.save(a=1, b=7)
    assert "m.safetensors" not in model("commit", "-m", "x").err
    model.save(a=1, b=6)
    assert model("commit", "-q", "-m", "x").err == ""


def test_timings_say_where_the_time_went(model: Shell) -> None:
    model.save(a=1, b=9)
    lines = model("commit", "-m", "x", "--timings").out.splitlines()[1:]
    assert lines[0].split() == ["stage", "seconds", "CPU", "bytes", "what"]
    names = [line.split()[0] for line in lines]
    assert [n for n in names if n in {"read", "hash", "encode", "publish", "other"}] == [
        *("read", "hash", "encode", "publish", "other")
    ]
    total = float(lines[names.index("in")].split()[2])
    assert float(lines[names.index("other")].split()[1]) <= total
    model.save(a=1, b=8)
    timings = model("commit", "-m", "x", "--timings", "--json").json["timings"]
    assert timings["loops"] == ("numpy" if native is None else "C")
    stages = {stage["stage"]: stage for stage in timings["stages"]}
    assert stages["read"]["bytes"] == stages["hash"]["bytes"] > 0
    assert stages["publish"]["wall"] <= timings["wall"]
    model.save(a=1, b=7)
    assert "timings" not in model("commit", "-m", "x", "--json").json


# The Python API -------------------------------------------------------------------------------


def test_every_option_is_reachable_from_python(model: Shell) -> None:
    model.save("ck/w.safetensors", w=float("nan"))
    with model.repo() as repo:
        details = Details(branch="run", as_name="model", guards=("finite",), step=7)
        with pytest.raises(GuardFailed, match="model/w"):
            repo.commit("x", author=ADA, paths=["ck"], details=details)
        assert "run" not in repo.branches()
        model.save("ck/w.safetensors", w=1)
        done = repo.commit("x", author=ADA, paths=["ck"], details=details)
        assert done.branch == "refs/heads/run"
        assert done.commit.step == 7
        assert done.timings is None
        again = Details(branch="run", allow_empty=True)
        timings = repo.commit("x", author=ADA, details=again, timings=True).timings
        assert timings is not None
        assert "publish" in {stage.name for stage in timings.stages}
        with pytest.raises(NothingToCommit):
            repo.commit("x", author=ADA, paths=["ck"], details=details)
        with pytest.raises(UsageError, match="no guard"):
            repo.commit("x", author=ADA, details=Details(guards=("nonsense",)))
