"""``theta status``: what differs, what was never checked out, and a merge that waits."""

from tests.theta.cli.conftest import Shell


def test_clean_and_changed(model: Shell) -> None:
    out = model("status").out
    assert out.startswith("On branch main\n")
    assert "Nothing changed since" in out
    model.save(a=1, b=3, c=4)
    (model.folder / "new.txt").write_text("x")
    answer = model("status")
    assert "changed  m.safetensors  (2 parameters)" in answer.out
    assert "Not tracked (theta add PATH):\n  new.txt\n" in answer.out
    assert "theta commit" in answer.err
    found = model("status", "--json").json
    assert found["branch"] == "main"
    assert not found["clean"]
    assert found["untracked"] == ["new.txt"]
    assert found["files"] == [
        {
            "path": "m.safetensors",
            "state": "changed",
            "params": [{"name": "b", "change": "changed"}, {"name": "c", "change": "added"}],
        }
    ]


def test_files_not_checked_out_are_listed_with_a_hint_and_are_no_change(model: Shell) -> None:
    model.save("ck/w.safetensors", w=1)
    model("commit", "ck", "--as", "model", "-m", "as")
    out = model("status").out
    assert "Not checked out (theta restore PATH):\n  model/w.safetensors\n" in out
    assert "Nothing changed since" in out
    assert "deleted" not in out
    model("restore", "model/w.safetensors")
    assert "Not checked out" not in model("status").out


def test_rm_of_a_file_that_is_not_checked_out(model: Shell) -> None:
    model.save("ck/w.safetensors", w=1)
    model("commit", "ck", "--as", "model", "-m", "as")
    model("rm", "model")
    assert model("status", "--json").json["files"][0]["state"] == "deleted"
    model.commit("without")
    assert [f["path"] for f in model("ls", "--json").json["files"]] == ["m.safetensors"]


def test_a_model_of_several_files_that_is_not_checked_out(model: Shell) -> None:
    model.save("ck/s1.safetensors", a=1)
    model.save("ck/s2.safetensors", b=2)
    index = '{"metadata": {}, "weight_map": {"a": "s1.safetensors", "b": "s2.safetensors"}}'
    (model.folder / "ck" / "m.safetensors.index.json").write_text(index)
    model("commit", "ck", "--as", "big", "-m", "sharded")
    files = model("status", "--json").json["files"]
    assert [(f["path"], f["state"]) for f in files] == [
        ("big/m.safetensors.index.json", "not checked out")
    ]
    model.save("big/s1.safetensors", a=9)
    model.commit("a shard alone is not the model", a=5, b=5)
    answer = model("status", "--json").json
    assert answer["clean"]
    assert answer["untracked"] == [
        "big/s1.safetensors",
        "ck/m.safetensors.index.json",
        "ck/s1.safetensors",
        "ck/s2.safetensors",
    ]
    assert "big/s1.safetensors is not tracked" in model("restore", "big", code=9).err


def test_verbose_shows_every_parameter(shell: Shell) -> None:
    shell.save(**{f"p{n}": 1 for n in range(20)})
    shell("add", "m.safetensors")
    shell.commit("first")
    shell.save(**{f"p{n}": 2 for n in range(20)})
    assert "… and 12 more" in shell("status").out
    out = shell("status", "-v").out
    assert "more" not in out
    assert out.count("changed  p") == 20


def test_a_waiting_merge(model: Shell) -> None:
    model("switch", "-c", "rte")
    model.commit("theirs", a=2, b=2)
    model("switch", "main")
    model.commit("ours", a=4, b=2)
    model("merge", "rte", "-s", "average", "--no-commit")
    assert model("status", "--json").json["merging"] == "rte"
    assert "Merging rte: theta commit -m MESSAGE, or theta merge --abort" in model("status").out


def test_detached_and_unborn(shell: Shell) -> None:
    assert "No commit yet" in shell("status").out
    shell.save(a=1)
    shell("add", "m.safetensors")
    id_ = shell.commit("first")
    shell("checkout", id_)
    assert f"HEAD detached at {id_[:10]}" in shell("status").out
    assert shell("status", "--json").json["branch"] is None
