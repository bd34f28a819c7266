"""``theta diff``: every mix of sides, what is said of a change, and when it fails."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.theta.cli.conftest import Shell
from theta.compare import FileDifference
from theta.repo import Repo
from theta_store.errors import ResourceError
from theta_store.store import Store


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _strict(text: str) -> Any:
    """Read JSON as other languages do: NaN and Infinity are no JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _params(shell: Shell, *words: str) -> dict[str, dict[str, Any]]:
    """Return the parameters that differ in the only file that does."""
    (file,) = _strict(shell("diff", "--json", *words).out)["files"]
    return {param["name"]: param for param in file["params"]}


def _files(shell: Shell, *words: str) -> dict[str, str]:
    return {f["path"]: f["change"] for f in _strict(shell("diff", "--json", *words).out)["files"]}


def _write(folder: Path, name: str = "m.safetensors", **values: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: np.full(4, v, np.float32) for k, v in values.items()}, folder / name)
    return folder / name


def _sharded(folder: Path, parts: list[dict[str, np.ndarray]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"model-{i}-of-{len(parts)}.safetensors" for i in range(len(parts))]
    for name, arrays in zip(names, parts, strict=True):
        save_file(arrays, folder / name)
    homes = {key: n for n, arrays in zip(names, parts, strict=True) for key in arrays}
    text = json.dumps({"metadata": {}, "weight_map": homes})
    (folder / "model.safetensors.index.json").write_text(text)


# The workspace -------------------------------------------------------------------------------


def test_nothing_differs(model: Shell) -> None:
    assert model("diff", "--exit-code").out == ""
    assert model("diff", "HEAD", "HEAD", "--exit-code").out == ""
    assert _strict(model("diff", "--json").out) == {
        "schema": "theta.diff/1",
        "files": [],
        "failed": 0,
    }


def test_the_workspace_against_head(model: Shell) -> None:
    model.save(a=1, b=3, c=1)
    answer = model("diff", "--exit-code", code=1)
    assert answer.out.splitlines() == [
        " changed  m.safetensors",
        "   changed  b  rel 5.00e-01  max 1.00e+00  cos +1.0000  changed 100.0%",
        "     added  c  F32 4",
    ]
    assert model("diff").code == 0
    params = _params(model)
    assert params["b"]["rel"] == 0.5
    assert params["b"]["changed_fraction"] == 1.0
    assert params["c"]["before"] is None
    assert params["c"]["after"] == {"dtype": "F32", "shape": [4]}


def test_a_file_that_is_not_checked_out_is_not_removed(model: Shell) -> None:
    model.save("other.safetensors", a=1)
    model("add", "other.safetensors")
    model("commit", "-m", "two")
    with model.repo() as repo:
        from theta.workspace import tracking

        repo.workspace.set_tracking(
            tracking.left_out(repo.workspace.tracking, ["other.safetensors"])
        )
    (model.folder / "other.safetensors").unlink()
    assert _files(model) == {}
    (model.folder / "m.safetensors").unlink()
    assert _files(model) == {"m.safetensors": "removed"}


def test_tied_names_are_no_difference(shell: Shell) -> None:
    weight = torch.randn(4, 4)
    torch.save({"a": weight, "b": weight, "n": torch.zeros(1)}, shell.folder / "m.pt")
    shell("add", "m.pt")
    shell("commit", "-m", "tied")
    torch.save({"a": weight, "b": weight, "n": torch.ones(1)}, shell.folder / "m.pt")
    assert set(_params(shell)) == {"n"}
    torch.save({"a": weight, "b": weight + 1, "n": torch.zeros(1)}, shell.folder / "m.pt")
    assert {n: p["change"] for n, p in _params(shell).items()} == {"b": "changed"}


def test_a_path_alone_says_what_to_look_at(model: Shell) -> None:
    model.save("sub/other.safetensors", a=1)
    model("add", "sub")
    model("commit", "-m", "two")
    model.save(a=5, b=2)
    model.save("sub/other.safetensors", a=5)
    assert set(_files(model)) == {"m.safetensors", "sub/other.safetensors"}
    assert set(_files(model, "m.safetensors")) == {"m.safetensors"}
    assert set(_files(model, "sub")) == {"sub/other.safetensors"}


def test_paths_behind_two_dashes(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save("sub/other.safetensors", a=1)
    model("add", "sub")
    model("commit", "-m", "two")
    words = ("diff", "HEAD~1", "HEAD", "--name-only")
    assert model(*words, "--", "m.safetensors").out == ""
    assert "sub/other" in model(*words, "--", "sub").out
    assert "sub/other" in model(*words, "--", "*/other.*").out
    monkeypatch.chdir(model.folder / "sub")
    assert "sub/other" in model(*words, "--", "other.safetensors").out
    assert "no file of either side is nope" in model(*words, "--", "nope", code=4).err


# Revisions -----------------------------------------------------------------------------------


def test_revisions_and_ranges(model: Shell) -> None:
    model.commit("second", a=2, b=2)
    model("branch", "old", "HEAD~1")
    assert set(_params(model, "old", "main")) == {"a"}
    assert set(_params(model, "old..main")) == {"a"}
    assert model("diff", "nope", "main", code=4).err.startswith("error: 'nope' names no commit")
    assert "at most two sides" in model("diff", "a", "b", "c", code=2).err


def test_name_only_reads_no_values(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    model.commit("second", a=2, c=2)

    def refuse(*_: object) -> None:
        raise AssertionError("a value was read")

    monkeypatch.setattr(Store, "read_range", refuse)
    answer = model("diff", "HEAD~1", "HEAD", "--name-only")
    assert answer.out.splitlines() == [
        " changed  m.safetensors",
        "   changed  a",
        "   removed  b",
        "     added  c",
    ]
    files = _strict(model("diff", "HEAD~1", "HEAD", "--name-only", "--json").out)["files"]
    assert "rel" not in files[0]["params"][0]


def test_only_what_differs_is_read(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    model.commit("second", a=2, b=2)
    read = []
    original = Store.read_range

    def watch(store: Store, record: Any, start: int, out: memoryview) -> None:
        read.append(record.chunks)
        original(store, record, start, out)

    monkeypatch.setattr(Store, "read_range", watch)
    model("diff", "HEAD~1", "HEAD")
    assert len(set(read)) == len(read) == 2


def test_globs_select_parameters(model: Shell) -> None:
    model.commit("second", a=2, b=3)
    assert set(_params(model, "HEAD~1", "HEAD", "-p", "a*")) == {"a"}
    assert _files(model, "HEAD~1", "HEAD", "-p", "z*") == {}


def test_layers_are_in_the_order_of_their_numbers(shell: Shell) -> None:
    names = [f"layers.{i}.w" for i in (0, 2, 10)]
    _write(shell.folder, "a.safetensors", **dict.fromkeys(names, 1.0))
    _write(shell.folder, "b.safetensors", **dict.fromkeys(names, 2.0))
    assert list(_params(shell, "a.safetensors", "b.safetensors")) == names


# Parts of a revision -------------------------------------------------------------------------


def test_a_file_of_a_revision_against_a_file(model: Shell, tmp_path: Path) -> None:
    outside = _write(tmp_path / "elsewhere", "x.safetensors", a=1.0, b=7.0)
    (file,) = _strict(model("diff", "HEAD:m.safetensors", str(outside), "--json").out)["files"]
    assert (file["before_path"], file["path"]) == ("m.safetensors", str(outside))
    assert [param["name"] for param in file["params"]] == ["b"]
    assert set(_params(model, "HEAD", str(outside))) == {"b"}, "the only checkpoint of HEAD"
    assert set(_params(model, str(outside))) == {"b"}, "the only checkpoint of the workspace"
    assert "m.safetensors → " in model("diff", "HEAD", str(outside)).out
    assert "holds no file" in model("diff", "HEAD", __file__, code=4).err
    assert "holds no file" in model("diff", "HEAD:nope", str(outside), code=4).err


def test_single_parameters(model: Shell) -> None:
    model.commit("second", a=2, b=5)
    assert set(_params(model, "HEAD~1::a", "HEAD")) == {"a"}
    assert set(_params(model, "HEAD~1:m.safetensors::b", "HEAD::b")) == {"b"}
    found = _params(model, "HEAD~1::a", "HEAD::b")
    assert found["a → b"]["rel"] == 4.0
    assert set(_params(model, "HEAD~1::*", "HEAD")) == {"a", "b"}
    assert model("diff", "HEAD::a", "HEAD::a", "--exit-code").out == ""
    assert "no parameter 'z'" in model("diff", "HEAD::z", "HEAD", code=4).err


def test_a_folder_of_a_revision(model: Shell) -> None:
    for name in ("one", "two"):
        model.save(f"run/{name}.safetensors", a=1)
    model("add", "run")
    model("commit", "-m", "run")
    model.save("run/two.safetensors", a=3)
    assert _files(model, "HEAD:run", "./run") == {"two.safetensors": "changed"}
    assert _files(model, "HEAD", "./run") == {"two.safetensors": "changed"}


def test_ignore_rules_of_the_workspace_hold_in_its_folders(model: Shell) -> None:
    model.save("run/m.safetensors", a=1)
    model("add", "run")
    model("commit", "-m", "run")
    (model.folder / ".thetaignore").write_text("*.log\n")
    (model.folder / "run" / "a.log").write_text("x")
    (model.folder / "run" / "a.txt").write_text("x")
    assert _files(model, "HEAD", "./run") == {"a.txt": "added"}


def test_a_parameter_against_a_plain_file(model: Shell) -> None:
    (model.folder / "plain.txt").write_text("x")
    assert "cannot be read any more" in model("diff", "HEAD::a", "./plain.txt").out


# Other repositories, files and folders -----------------------------------------------------


def test_another_repository(model: Shell, tmp_path: Path) -> None:
    with Repo.init(tmp_path / "other") as other:
        _write(other.root, a=1.0, b=9.0)
        other.add(["m.safetensors"])
        from theta.repo import Author

        other.commit("theirs", author=Author("Bo"))
    assert set(_params(model, "HEAD", "../other@main")) == {"b"}
    assert set(_params(model, f"{tmp_path}/other@HEAD:m.safetensors", "HEAD")) == {"b"}
    assert set(_params(model, "../other@main")) == {"b"}
    assert _files(model, ".@HEAD", "HEAD") == {}
    assert "no theta repository" in model("diff", "../nope@main", "HEAD", code=3).err
    assert "names no commit" in model("diff", "../other@nope", "HEAD", code=4).err


def test_a_revision_against_its_export(model: Shell, tmp_path: Path) -> None:
    (model.folder / "config.json").write_text("{}")
    model("add", "config.json")
    model("commit", "-m", "config")
    model("export", "HEAD", str(tmp_path / "out"))
    assert _files(model, "HEAD", str(tmp_path / "out")) == {}
    (tmp_path / "out" / "config.json").write_text("{} ")
    (tmp_path / "out" / "new.txt").write_text("x")
    _write(tmp_path / "out", a=1.0, b=4.0)
    assert _files(model, "HEAD", str(tmp_path / "out")) == {
        "config.json": "changed",
        "m.safetensors": "changed",
        "new.txt": "added",
    }
    selected = _files(model, "HEAD", str(tmp_path / "out"), "--", "config.json")
    assert selected == {"config.json": "changed"}


def test_outside_of_any_repository(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "one", a=1.0)
    _write(tmp_path / "two", a=2.0)
    assert _files(shell, "one", "two") == {"m.safetensors": "changed"}
    words = ("one/m.safetensors", "two/m.safetensors")
    (file,) = _strict(shell("diff", *words, "--json").out)["files"]
    assert (file["before_path"], file["path"]) == ("one/m.safetensors", "two/m.safetensors")
    assert "is no file or folder" in shell("diff", "one", "nope", code=4).err
    assert "no theta repository" in shell("diff", "one", code=3).err


def test_a_repository_named_from_outside(
    model: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "one", a=3.0, b=2.0)
    assert set(_params(model, "work@HEAD", "one")) == {"a"}


def test_a_word_of_two_meanings_is_refused(model: Shell) -> None:
    model.commit("second", a=2, b=2)
    _write(model.folder / "main", a=7.0, b=2.0)
    assert "./main is the path" in model("diff", "HEAD~1", "main", code=2).err
    assert set(_params(model, "HEAD~1:m.safetensors", "./main/m.safetensors")) == {"a"}
    assert set(_params(model, "HEAD~1", "refs/heads/main")) == {"a"}


def test_a_sharded_model_is_one_model(shell: Shell, tmp_path: Path) -> None:
    arrays = {f"w{i}": _noise(i, 8, 8) for i in range(4)}
    halves = [{k: arrays[k] for k in part} for part in (("w0", "w1"), ("w2", "w3"))]
    _sharded(tmp_path / "two", halves)
    _sharded(tmp_path / "four", [{k: v} for k, v in arrays.items()])
    (tmp_path / "one").mkdir()
    save_file(arrays, tmp_path / "one" / "model.safetensors")
    for other in ("four", "one"):
        (file,) = _strict(shell("diff", "../two", f"../{other}", "--json").out)["files"]
        assert (file["change"], file["params"]) == ("changed", [])
        assert file["note"] == "the same parameters; the rest of the file differs"
    arrays["w3"] = arrays["w3"] * 2
    save_file(arrays, tmp_path / "one" / "model.safetensors")
    assert set(_params(shell, "../two", "../one")) == {"w3"}
    assert set(_params(shell, "../two", "../one/model.safetensors")) == {"w3"}
    index = "../two/model.safetensors.index.json"
    assert set(_params(shell, index, "../one/model.safetensors")) == {"w3"}


def test_few_files_are_open_at_a_time(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theta.repo.open_files.MOST_OPEN", 2)
    before = {f"w{i}": _noise(i, 8, 8) for i in range(9)}
    after = {k: v * 2 for k, v in before.items()}
    _sharded(tmp_path / "one", [{k: v} for k, v in before.items()])
    _sharded(tmp_path / "two", [{k: v} for k, v in after.items()])
    found = _params(shell, "../one", "../two")
    assert {name: param["rel"] for name, param in found.items()} == dict.fromkeys(before, 1.0)


def test_a_pickle_that_cannot_be_read_is_a_plain_file(shell: Shell) -> None:
    path = shell.folder / "m.pt"
    torch.save({"w": torch.zeros(3)}, path)
    shell("add", "m.pt")
    shell("commit", "-m", "safe")
    torch.save({"w": torch.zeros(3), "x": Shell}, path)
    answer = shell("diff")
    assert "changed  m.pt  (its parameters cannot be read any more)" in answer.out
    assert "kept byte for byte" in answer.err
    shell("commit", "-m", "unsafe")
    torch.save({"w": torch.zeros(3), "x": Path}, path)
    assert _files(shell) == {"m.pt": "changed"}


def test_a_broken_file_is_named(shell: Shell) -> None:
    good = shell.save("a.safetensors", a=1)
    (shell.folder / "b.safetensors").write_bytes(good.read_bytes()[:-3])
    answer = shell("diff", "a.safetensors", "b.safetensors", code=9)
    assert "b.safetensors" in answer.err
    assert "committed" not in answer.err


def test_a_file_that_changes_meanwhile_is_noticed(model: Shell) -> None:
    model.save(a=1, b=3)
    with model.repo() as repo, repo.diff() as files:
        found: list[FileDifference] = list(files)
        model.save(a=1, b=np.zeros(7, np.float32))
        with pytest.raises(ResourceError, match="changed while it was compared"):
            found[0].params[0].measure()


# What is said ------------------------------------------------------------------------------


def test_changes_are_recognised(shell: Shell) -> None:
    old = {k: _noise(i, 128, 96) for i, k in enumerate(("low", "scaled", "trim", "mixed", "dense"))}
    new = {
        "low": old["low"] + 0.1 * _noise(10, 128, 4) @ _noise(11, 4, 96),
        "scaled": old["scaled"] * np.float32(0.5),
        "trim": old["trim"][8:],
        "mixed": old["mixed"][::-1].copy(),
        "dense": old["dense"] + _noise(12, 128, 96),
    }
    save_file(old, shell.folder / "a.safetensors")
    save_file(new, shell.folder / "b.safetensors")
    params = _params(shell, "a.safetensors", "b.safetensors")
    texts = {name: [f["text"] for f in p["recognised"]] for name, p in params.items()}
    assert texts == {
        "low": ["rank 4"],
        "scaled": ["scaled by 0.5"],
        "trim": ["rows removed (8 of 128)"],
        "mixed": ["rows permuted"],
        "dense": [],
    }
    assert params["low"]["rank"] == 4
    assert params["dense"]["rank"] is None
    out = shell("diff", "a.safetensors", "b.safetensors").out
    assert "F32 128×96 → 120×96  rows removed (8 of 128)" in out


def test_a_cast_is_measured_and_named(shell: Shell) -> None:
    weight = torch.randn(50, 50)
    torch.save({"w": weight}, shell.folder / "a.pt")
    torch.save({"w": weight.bfloat16()}, shell.folder / "b.pt")
    out = shell("diff", "a.pt", "b.pt").out
    assert "dtype  w  F32 → BF16  rel 1." in out
    assert out.rstrip().endswith("exact bf16 cast")


def test_json_has_no_nan_and_no_infinity(shell: Shell) -> None:
    save_file({"w": np.zeros(4, np.float32)}, shell.folder / "a.safetensors")
    bad = np.array([1, np.nan, np.inf, 0], np.float32)
    save_file({"w": bad}, shell.folder / "b.safetensors")
    param = _params(shell, "a.safetensors", "b.safetensors")["w"]
    assert (param["nan"], param["inf"], param["rel"], param["cosine"]) == (1, 1, None, None)
    assert "nan 1  inf 1" in shell("diff", "a.safetensors", "b.safetensors").out


def test_bars_per_module(shell: Shell) -> None:
    for name, scale in (("a", 1.0), ("b", 2.0)):
        values = {f"net.{i}.{k}": scale * (i + 1) for i in range(3) for k in ("w", "b")}
        _write(shell.folder, f"{name}.safetensors", **values)
    lines = shell("diff", "a.safetensors", "b.safetensors", "--stat").out.splitlines()
    bars = [line.count("█") for line in lines[1:]]
    assert [line.split()[0] for line in lines[1:]] == ["net.0", "net.1", "net.2"]
    assert bars == [round(32 / 3), round(64 / 3), 32]
    assert all(line.endswith("(2 changed)") for line in lines[1:])


def test_bars_of_a_deep_model_fit_on_a_screen(shell: Shell) -> None:
    for name, scale in (("a", 1.0), ("b", 2.0)):
        values = {f"h.{i}.{k}.w": scale for i in range(12) for k in ("q", "k", "v", "o")}
        _write(shell.folder, f"{name}.safetensors", **values)
    lines = shell("diff", "a.safetensors", "b.safetensors", "--stat").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [f"h.{i}" for i in range(12)]


# --fail-on ---------------------------------------------------------------------------------


def test_fail_on(model: Shell) -> None:
    model.commit("second", a=1.01, b=3)
    words = ("diff", "HEAD~1", "HEAD", "--fail-on")
    assert model(*words, "rel>0.6,nan,max_abs>2").code == 0
    answer = model(*words, "rel>0.1,nan", code=1)
    assert answer.err == "fails rel>0.1: m.safetensors::b\n"
    assert "m.safetensors" in answer.out
    done = _strict(model(*words, "rel > 0.001, max_abs>=1", "--json", code=1).out)
    assert done["failed"] == 2
    assert {p["name"]: p["failed"] for p in done["files"][0]["params"]} == {
        "a": ["rel > 0.001"],
        "b": ["rel > 0.001", "max_abs>=1"],
    }


def test_fail_on_names_of_changes(model: Shell) -> None:
    model.commit("second", a=np.zeros(5, np.float32), c=1)
    words = ("diff", "HEAD~1", "HEAD", "--name-only", "--fail-on")
    for word in ("added", "removed", "shape"):
        assert word in model(*words, word, code=1).err
    assert model(*words, "dtype").code == 0
    assert "reads no values" in model(*words, "rel>1", code=2).err
    model("rm", "m.safetensors")
    model("commit", "-m", "gone")
    assert model("diff", "HEAD~1", "HEAD", "--fail-on", "removed", code=1).err == (
        "fails removed: m.safetensors\n"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_lost_pass_no_bound(model: Shell, bad: float) -> None:
    model.commit("second", a=bad, b=2)
    words = ("diff", "HEAD~1", "HEAD", "--fail-on")
    for condition in ("rel>100", "max_abs>=1e9", "norm>1e9", "nan,inf"):
        assert model(*words, condition, code=1).err.startswith("fails")
    assert model("diff", "HEAD", "HEAD", "--fail-on", "nan,inf,rel>0").code == 0


def test_what_grows_from_zero_passes_no_relative_bound(model: Shell) -> None:
    model.commit("zero", a=0, b=2)
    model.commit("grown", a=1e-9, b=2)
    assert model("diff", "HEAD~1", "HEAD", "--fail-on", "rel>1e9", code=1).code == 1


@pytest.mark.parametrize(
    "text", ["", "rel", "rel>", "rel>>1", "rel=1", "rel>x", "rel>nan", "foo>1", "foo", "nan,,inf"]
)
def test_what_is_no_condition_is_refused(model: Shell, text: str) -> None:
    answer = model("diff", "--fail-on", text, code=2)
    assert answer.err.startswith("error: --fail-on: ")
    assert "Hint: " in answer.err
