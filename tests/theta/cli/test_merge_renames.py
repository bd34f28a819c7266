"""Parameters that one side renamed and the other trained."""

import pytest

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, tree

OLD = {"h__0__w": 1.0, "h__0__norm": 9.0, "h__1__w": 2.0, "h__1__norm": 9.0}
NEW = {f"model__{name}": value for name, value in OLD.items()}
TRAINED = {"h__0__w": 5.0, "h__0__norm": 9.0, "h__1__w": 6.0, "h__1__norm": 7.0}


@pytest.mark.parametrize("ours_renamed", [True, False])
def test_renames_are_followed(shell: Shell, ours_renamed: bool) -> None:
    shell.save(**OLD)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", **(TRAINED if ours_renamed else NEW))
    shell.commit("ours", **(NEW if ours_renamed else TRAINED))
    answer = shell("merge", "rte", "--json").json
    assert answer["state"] == "merged"
    expected = {f"model.{n.replace('__', '.')}": value for n, value in TRAINED.items()}
    assert shell.load() == expected
    assert {r["how"] for r in answer["resolved"]} == {"theirs"}
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]
    shell("fsck")


def test_what_both_trained_under_two_names_is_one_conflict(shell: Shell) -> None:
    """A third branch renamed; what the first two made of ``h.0.w`` meets under the new name."""
    shell.save(**OLD)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "named", "main", **NEW)
    branch(shell, "rte", "main", **OLD | {"h__0__w": 3})
    shell.commit("ours", **OLD | {"h__0__w": 5})
    (conflict,) = shell("merge", "rte", "named", "--json", code=1).json["conflicts"]
    assert conflict["name"] == "model.h.0.w"
    shell("merge", "rte", "named", "-s", "average")
    assert shell.load()["model.h.0.w"] == 4
    by_octopus = tree(shell)
    shell("reset", "--hard", "HEAD~1")
    shell("merge", "rte", "-s", "average")
    shell("merge", "named")
    assert tree(shell) == by_octopus
