"""``theta merge``: rules, defaults and what they may not say, through the command line."""

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, forked, tree


@pytest.fixture
def fork(model: Shell) -> Shell:
    """From a = 1, b = 2: main has a = 3, b = 4; rte has a = 5, b = 8."""
    return forked(model, {"a": 3, "b": 4}, {"a": 5, "b": 8})


def test_a_strategy_with_parameters(fork: Shell) -> None:
    fork("merge", "rte", "-s", "linear weight=ours:0.25,rte:0.75")
    assert fork.load() == {"a": 4.5, "b": 7}


def test_one_number_is_for_every_side(fork: Shell) -> None:
    fork("merge", "rte", "-s", "task-arithmetic weight=0.5 lambda=2")
    assert fork.load() == {"a": 7, "b": 10}


def test_rules_come_after_the_default_and_the_last_wins(fork: Shell) -> None:
    fork("merge", "rte", "-s", "average", "--rule", "* theirs", "--rule", "a linear weight=1,0")
    assert fork.load() == {"a": 3, "b": 8}


def test_attributes_lie_between_the_default_and_the_options(fork: Shell) -> None:
    (fork.folder / ".thetaattributes").write_text("# rules\n* theirs\nb linear weight=3,1\n")
    fork("merge", "rte", "-s", "average", "--rule", "a ours", "--dry-run")
    fork("merge", "rte", "-s", "average", "--rule", "a ours")
    assert fork.load() == {"a": 3, "b": 5}


def test_attributes_are_read_from_head_where_the_file_is_gone(fork: Shell) -> None:
    path = fork.folder / ".thetaattributes"
    path.write_text("* theirs\n")
    fork("add", ".thetaattributes")
    fork.commit("rules")
    path.unlink()
    assert fork("merge", "rte", "--dry-run").out.endswith("2 names changed by both: theirs\n")


def test_the_configured_default_has_parameters_too(fork: Shell) -> None:
    fork("config", "merge.default", "linear weight=0,1")
    fork("merge", "rte")
    assert fork.load() == {"a": 5, "b": 8}


def test_the_order_of_sides_is_immaterial_with_weights_by_name(model: Shell) -> None:
    forked(model, {"a": 0.1, "b": 0.7}, {"a": 0.3, "b": 0.9})
    model("switch", "rte")
    model("merge", "main", "-s", "linear weight=main:0.3,rte:0.7")
    model("switch", "main")
    model("merge", "rte~1", "-s", "linear weight=ours:0.3,theirs:0.7")
    assert tree(model, "rte") == tree(model, "main")


def test_a_gradient_over_layers(shell: Shell) -> None:
    names = [f"model__layers__{n}__w" for n in range(3)]
    shell.save(**dict.fromkeys(names, 0))
    shell("add", "m.safetensors")
    shell.commit("first")
    forked(shell, dict.fromkeys(names, 1.0), dict.fromkeys(names, 3.0))
    shell("merge", "rte", "-s", "linear weight=ours:gradient(1,0),rte:gradient(0,1)")
    assert list(shell.load().values()) == [1, 2, 3]


@pytest.mark.parametrize(
    "words",
    [
        ("-s", "nonsense"),
        ("-s", "ties density=1.5"),
        ("-s", "ties density=0"),
        ("-s", "average weight=2"),
        ("-s", "linear weight=1,-1"),
        ("-s", "linear weight=1,2,3"),
        ("--rule", "* linear weight=ours:1,mnli:2"),
        ("--rule", "* linear weight=ours:1"),
        ("--rule", "*"),
    ],
)
def test_bad_parameters_are_one_clear_error_and_nothing_is_written(
    fork: Shell, words: tuple[str, str]
) -> None:
    before = fork("op", "--json").out
    error = fork("merge", "rte", *words, code=2).err
    assert error.startswith(("error: -s ", "error: rule "))
    assert "Traceback" not in error
    assert fork.load() == {"a": 3, "b": 4}
    assert fork("op", "--json").out == before


def test_a_bad_line_of_attributes_is_named(fork: Shell) -> None:
    (fork.folder / ".thetaattributes").write_text("\n* ties density=2\n")
    assert ".thetaattributes line 2: ties density=2 is not" in fork("merge", "rte", code=2).err
    fork("config", "merge.default", "ties density=7")
    (fork.folder / ".thetaattributes").unlink()
    assert "config merge.default = 'ties density=7'" in fork("merge", "rte", code=2).err


def test_a_strategy_that_needs_a_base_leaves_what_has_none(model: Shell) -> None:
    forked(model, {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 5})
    (conflict,) = model("merge", "rte", "-s", "ties", "--json", code=1).json["conflicts"]
    assert (conflict["name"], conflict["kind"]) == ("c", "add/add")
    assert conflict["why"] == "ties needs a base, and there is none of this shape"
    assert "ties needs a base" in model("merge", "rte", "-s", "ties", code=1).out


def test_nothing_is_computed_while_conflicts_are_left(fork: Shell) -> None:
    answer = fork("merge", "rte", "--rule", "a average", "--json", code=1).json
    assert [(c["name"], c["kind"]) for c in answer["conflicts"]] == [("b", "content")]
    assert fork.load() == {"a": 3, "b": 4}


def test_a_nan_is_a_conflict_whatever_the_strategy(model: Shell) -> None:
    bad = np.array([1, np.nan, 3, 4], np.float32)
    branch(model, "rte", "main", a=bad, b=5)
    model.commit("ours", a=7, b=7)
    for strategy in ("average", "ties", "dare density=0.5"):
        answer = model("merge", "rte", "-s", strategy, "--json", code=1).json
        assert [(c["name"], c["kind"]) for c in answer["conflicts"]] == [("a", "non-finite")]
    model("merge", "rte", "-s", "average", "--rule", "a ours")
    assert model.load() == {"a": 7, "b": 6}


def test_tied_names_are_one_conflict_and_stay_tied(shell: Shell) -> None:
    torch = pytest.importorskip("torch")

    def save(value: float) -> None:
        weight = torch.full((4,), float(value))
        torch.save({"head.w": weight, "embed.w": weight}, shell.folder / "m.pt")

    save(1)
    shell("add", "m.pt")
    shell.commit("first")
    shell("switch", "-c", "rte")
    save(2)
    shell.commit("theirs")
    shell("switch", "main")
    save(4)
    shell.commit("ours")
    (conflict,) = shell("merge", "rte", "--json", code=1).json["conflicts"]
    assert conflict["name"] == "embed.w"
    # A rule for either name is a rule for both.
    for name in ("head.w", "embed.w"):
        answer = shell("merge", "rte", "--rule", f"{name} ours", "--dry-run", "--json").json
        assert [r["how"] for r in answer["resolved"]] == ["ours"]
    shell("merge", "rte", "-s", "average")
    state = torch.load(shell.folder / "m.pt", weights_only=True)
    assert state["head.w"][0] == 3
    assert state["head.w"].data_ptr() == state["embed.w"].data_ptr()


def test_a_dry_run_says_what_it_will_cost(fork: Shell) -> None:
    said = fork("merge", "rte", "-s", "ties", "--rule", "a ours", "--dry-run").out
    # Two sides and the base of b, 16 bytes each, read twice.
    assert "reads 96 B, computes 16 B" in said
    assert "in memory" not in said
    said = fork("merge", "rte", "-s", "regmean", "--dry-run").out
    assert "needs gram of every side" in said
    answer = fork("merge", "rte", "-s", "linear", "--dry-run", "--json").json
    assert (answer["read_bytes"], answer["computed_bytes"]) == (64, 32)


def test_unsaved_changes_are_refused_before_anything_is_computed(fork: Shell) -> None:
    fork.save(a=9, b=9)
    error = fork("merge", "rte", "-s", "average", code=9).err
    assert "m.safetensors would be overwritten" in error
    assert not (fork.folder / ".theta" / "merge-finished").exists()
    assert fork.load() == {"a": 9, "b": 9}


def test_the_base_of_what_has_none_settles_nothing(model: Shell) -> None:
    forked(model, {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 5})
    (conflict,) = model("merge", "rte", "-s", "base", "--json", code=1).json["conflicts"]
    assert conflict["why"] == "base takes the base, and there is none"


def test_many_conflicts_are_told_by_module(shell: Shell) -> None:
    names = [f"h__{layer}__{kind}" for layer in range(12) for kind in ("mlp__w", "norm")]
    shell.save("m.safetensors", **dict.fromkeys(names, 1.0))
    shell("add", "m.safetensors")
    shell.commit("first")
    forked(shell, dict.fromkeys(names, 3.0), dict.fromkeys(names, 5.0))
    told = shell("merge", "rte", code=1)
    assert told.out.splitlines() == [
        "      content  m.safetensors::h.*.mlp.*  (12 names)",
        "      content  m.safetensors::h.*.*  (12 names)",
    ]
    assert "24 conflicts left" in told.err
    assert len(shell("-v", "merge", "rte", code=1).out.splitlines()) == 24
    assert len(shell("merge", "rte", "--json", code=1).json["conflicts"]) == 24


def test_a_dry_run_says_that_nothing_has_to_be_merged(model: Shell) -> None:
    branch(model, "rte", "main", a=5, b=8)
    assert model("merge", "rte", "--dry-run").out == "would move to rte; nothing is merged\n"
    assert (
        model("merge", "main", "--dry-run").out == "would stay: HEAD has main; nothing is merged\n"
    )
    assert model("merge", "rte", "--json").json["state"] == "fast-forward"
