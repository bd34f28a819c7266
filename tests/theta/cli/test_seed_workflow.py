"""The seed workflow runs as the design spells it, typed into a real terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pexpect = pytest.importorskip("pexpect", reason="no pseudo-terminals on this system")

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
sys.path.append(str(EXAMPLES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the whole transcript once; a line that fails fails here."""
    import run_demo

    folder = tmp_path_factory.mktemp("demo")
    run_demo.prepare(folder)
    for line in run_demo.WORKFLOW.splitlines():
        run_demo.type_line(line, folder)
    return folder


def _theta(folder: Path, *words: str) -> str:
    command = [str(Path(sys.executable).parent / "theta"), *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _model(folder: Path, revision: str) -> dict[str, torch.Tensor]:
    path = folder / f"{revision.replace('~', '-').replace('^', '-')}.exported"
    if not path.exists():
        _theta(folder, "export", f"{revision}:model.pt", str(path))
    return torch.load(path, weights_only=True)


def test_the_merge_has_two_parents(folder: Path) -> None:
    commits = json.loads(_theta(folder, "log", "--json"))["commits"]
    assert len(commits) == 6
    merge = commits[1]
    assert merge["message"] == "Merge RTE and ANLI models"
    assert merge["parents"] == [
        json.loads(_theta(folder, "show", revision, "--json"))["commit"]
        for revision in ("HEAD~2", "rte")
    ]


def test_the_merged_model_is_the_exact_average_and_loads_safely(folder: Path) -> None:
    base, ours, theirs, merged = (
        _model(folder, revision) for revision in ("HEAD~3", "HEAD~2", "rte", "HEAD~1")
    )
    changed = 0
    for name, value in merged.items():
        one, two = ours[name], theirs[name]
        if torch.equal(one, two):
            assert torch.equal(value, one), name
        elif torch.equal(base[name], one) or torch.equal(base[name], two):
            assert torch.equal(value, two if torch.equal(base[name], one) else one), name
        else:
            changed += 1
            expected = one * 0.5 + two * 0.5
            assert torch.equal(value, expected), name
    assert changed == 6


def test_the_merge_commit_costs_little_and_everything_is_sound(folder: Path) -> None:
    fsck = json.loads(_theta(folder, "fsck", "--json"))
    assert fsck["ok"]
    sizes = json.loads(_theta(folder, "du", "--json"))
    assert sizes["stored_bytes"] < 6 * (folder / "model.pt").stat().st_size


def test_trimming_shows_as_a_change_of_shape(folder: Path) -> None:
    diff = json.loads(_theta(folder, "diff", "HEAD~1", "HEAD", "--json"))
    changes = {p["name"]: p["change"] for p in diff["files"][0]["params"]}
    assert changes == {"embed.weight": "shape", "token_map": "changed"}


def _conflict(folder: Path, *changed_by_both: str) -> None:
    """Make two branches that both changed these parameters."""
    theta = str(Path(sys.executable).parent / "theta")

    def run(*words: str) -> None:
        subprocess.run([theta, *words], cwd=folder, check=True, capture_output=True)

    def save(value: float) -> None:
        names = ["a.w", "a.b", "c.w"]
        state = {n: torch.full((3,), value if n in changed_by_both else 0.0) for n in names}
        torch.save(state, folder / "model.pt")

    save(0)
    run("init")
    run("add", "model.pt")
    run("commit", "-m", "base")
    run("switch", "-c", "other")
    save(2)
    run("commit", "-m", "theirs")
    run("switch", "main")
    save(4)
    run("commit", "-m", "ours")


def _talk(folder: Path, *answers: str) -> tuple[int, str]:
    shell = pexpect.spawn(
        str(Path(sys.executable).parent / "theta"),
        ["merge", "other"],
        cwd=str(folder),
        timeout=60,
        encoding="utf-8",
        env={**os.environ, "NO_COLOR": "1"},
    )
    for answer in answers:
        shell.expect_exact("θ ")
        shell.sendline(answer)
    shell.expect(pexpect.EOF)
    shell.close()
    return shell.exitstatus, shell.before


def test_the_prompt_takes_globs_single_names_and_explains(tmp_path: Path) -> None:
    _conflict(tmp_path, "a.w", "a.b", "c.w")
    code, _ = _talk(tmp_path, "?", "nonsense", "tt a.*", "one", "tu")
    assert code == 0
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {name: value[0].item() for name, value in state.items()} == {
        "a.w": 2.0,
        "a.b": 2.0,
        "c.w": 4.0,
    }
    assert "Merging other" in _theta(tmp_path, "status")


def test_quit_leaves_everything_as_it_was(tmp_path: Path) -> None:
    _conflict(tmp_path, "a.w")
    before = (tmp_path / "model.pt").read_bytes()
    assert _talk(tmp_path, "q")[0] == 1
    assert (tmp_path / "model.pt").read_bytes() == before
    assert not (tmp_path / ".theta" / "merge.json").exists()


def test_without_a_terminal_conflicts_exit_with_1_and_write_nothing(tmp_path: Path) -> None:
    _conflict(tmp_path, "a.w", "c.w")
    before = (tmp_path / "model.pt").read_bytes()
    theta = str(Path(sys.executable).parent / "theta")
    done = subprocess.run(
        [theta, "merge", "other", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["commit"] is None
    assert {c["name"] for c in answer["conflicts"]} == {"a.w", "c.w"}
    assert (tmp_path / "model.pt").read_bytes() == before
    rules = ["--rule", "* theirs", "--rule", "c.* ours", "--json"]
    done = subprocess.run(
        [theta, "merge", "other", *rules], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["commit"]
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert (state["a.w"][0].item(), state["c.w"][0].item()) == (2.0, 4.0)
