"""``theta blame``: which commit gave each parameter its value, and how."""

import json

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch


def _blamed(shell: Shell, what: str = "HEAD") -> dict[str, tuple[str, str | None]]:
    rows = shell("blame", what, "--json").json["params"]
    return {row["name"]: (row["subject"], row["strategy"]) for row in rows}


def test_the_last_change_is_to_blame(model: Shell) -> None:
    model.commit("second", a=5, b=2)
    model.commit("third", a=5, b=3, c=1)
    model.commit("fourth", a=5, b=4, c=1)
    assert _blamed(model) == {
        "a": ("second", None),
        "b": ("fourth", None),
        "c": ("third", None),
    }
    assert _blamed(model, "HEAD~1::b") == {"b": ("third", None)}


def test_a_value_that_came_back_is_of_the_commit_that_brought_it(model: Shell) -> None:
    model.commit("away", a=5, b=2)
    model.commit("back", a=1, b=2)
    assert _blamed(model)["a"] == ("back", None)


def test_what_a_merge_took_is_not_its_own_and_what_it_made_names_the_strategy(
    model: Shell,
) -> None:
    model.commit("base", a=1, b=2, c=3)
    branch(model, "rte", "main", a=7, b=9, c=3)
    model.commit("ours", a=5, b=2, c=4)
    model("merge", "rte", "-s", "linear weight=1,3", "-m", "merged")
    model.commit("later", a=6.5, b=9, c=4, d=0)
    assert _blamed(model) == {
        "a": ("merged", "linear"),
        "b": ("rte", None),
        "c": ("ours", None),
        "d": ("later", None),
    }
    (row,) = model("blame", "m.safetensors::a", "--json").json["params"]
    assert row["parameters"]["weight"] == [1, 3]
    told = model("blame", "m.safetensors::a").out
    assert "merged  (linear normalize=true weight=1.0,3.0)" in told


def test_a_pick_names_its_strategy(model: Shell) -> None:
    branch(model, "rte", "main", a=7, b=2)
    model.commit("ours", a=5, b=2)
    model("cherry-pick", "rte", "-m", "picked")
    assert _blamed(model)["a"] == ("picked", "task-arithmetic")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("m.safetensors", {"a", "b"}),
        ("m.safetensors::a", {"a"}),
        ("HEAD:m.safetensors::[ab]", {"a", "b"}),
        ("main::b", {"b"}),
    ],
)
def test_addresses(model: Shell, what: str, names: set[str]) -> None:
    assert _blamed(model, what).keys() == names


@pytest.mark.parametrize(
    ("what", "code"), [("m.safetensors::x", 4), ("nope", 4), ("HEAD:nope::a", 4), ("README", 2)]
)
def test_what_is_not_there_is_named(model: Shell, what: str, code: int) -> None:
    (model.folder / "README").write_text("x")
    model("add", "README")
    model.commit("text")
    model("blame", what, code=code)


def test_tied_names_are_each_blamed(model: Shell) -> None:
    torch = pytest.importorskip("torch")
    shared = torch.zeros(3)
    torch.save({"x": shared, "y": shared}, model.folder / "t.pt")
    model("add", "t.pt")
    model.commit("tied")
    assert _blamed(model, "t.pt") == {"x": ("tied", None), "y": ("tied", None)}


def test_files_that_were_given_up_end_the_walk(model: Shell) -> None:
    model.commit("second", a=5, b=2)
    model.commit("third", a=5, b=3)
    model("forget", "HEAD~1")
    model("gc", "--now")
    rows = model("blame", "--json").json["params"]
    assert {row["name"]: (row["subject"], row["at_least"]) for row in rows} == {
        "a": ("third", True),
        "b": ("third", True),
    }
    assert "^" in model("blame").out


def test_a_long_history_is_walked(model: Shell) -> None:
    rng = np.random.default_rng(0)
    last = {"a": "first", "b": "first"}
    values = {"a": 1.0, "b": 2.0}
    for step in range(12):
        name = rng.choice(["a", "b"])
        values[name] = step + 10.0
        model.commit(f"step {step}", **values)
        last[name] = f"step {step}"
    assert {name: subject for name, (subject, _) in _blamed(model).items()} == last


def test_a_sharded_model_is_named_by_its_folder_or_a_shard(shell: Shell) -> None:
    shard = "model-00001-of-00001.safetensors"
    shell.save(f"llm/{shard}", x=1)
    index = {"metadata": {}, "weight_map": {"x": shard}}
    (shell.folder / "llm" / "model.safetensors.index.json").write_text(json.dumps(index))
    shell("add", "llm")
    shell.commit("first")
    for name in ("llm", f"llm/{shard}", "llm/model.safetensors.index.json", "HEAD:llm"):
        assert _blamed(shell, f"{name}::x") == {"x": ("first", None)}
    # What is a revision stays one.
    shell("branch", "llm")
    shell.save(f"llm/{shard}", x=2)
    shell.commit("second")
    assert _blamed(shell, "llm::x") == {"x": ("first", None)}
    shell("blame", "nothing::x", code=4)
