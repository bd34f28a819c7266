"""``theta tag``: a tag that takes the name of a branch is told of."""

from tests.theta.cli.conftest import Shell


def test_a_tag_beside_a_branch_of_its_name_is_warned_of(model: Shell) -> None:
    told = model("tag", "main").err
    assert "there is a branch main as well" in told
    assert "refs/heads/main the branch" in told
    assert "warning" in model("tag", "main", "-f", "--dry-run").err
    assert "warning" not in model("tag", "v1").err
