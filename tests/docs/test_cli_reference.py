"""The reference of the command line is what ``--help`` says, and what it says by hand is true."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.docs.pages import DOCS, ROOT
from theta.cli import HIDDEN, VERBS

GENERATOR = runpy.run_path(str(DOCS / "generate_cli.py"))
PAGE = DOCS / "reference" / "cli.md"


def test_the_page_is_what_the_program_says() -> None:
    told = "docs/reference/cli.md is not what the program says any more. Run: make docs"
    assert PAGE.read_text() == GENERATOR["page"](), told


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_an_example(verb: str) -> None:
    _, _, section = PAGE.read_text().partition(f"\n## theta {verb}\n")
    if verb in HIDDEN:
        assert f"`theta {verb}`" in PAGE.read_text()
        return
    section = section.partition("\n## ")[0]
    assert section.split("\n\n")[1].strip(), "there is no help text"
    examples = section.partition("Examples:")[2]
    assert re.search(rf"^theta {verb}", examples, re.MULTILINE), "there is no example"


def test_every_exit_code_of_an_error_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| .*? \| (.*?) \|$", PAGE.read_text(), re.MULTILINE))
    for error in GENERATOR["errors"]():
        assert f"`{error.kind}`" in rows[str(error.exit_code)]


def test_the_environment_is_what_the_program_reads() -> None:
    modules = set((ROOT / "theta" / "cli").glob("*.py"))
    # What the shells' own scripts and completing tell each other is theirs alone.
    modules.remove(ROOT / "theta" / "cli" / "completing.py")
    source = "".join(path.read_text() for path in modules)
    read = re.findall(r'env(?:\.get\(|\[)"(\w+)"|"(\w+)" in \S*env\b', source)
    assert {one or two for one, two in read} == GENERATOR["ENVIRONMENT"].keys()


def _theta(folder: Path, *words: str) -> tuple[int, str]:
    program = str(Path(sys.executable).parent / "theta")
    done = subprocess.run(
        [program, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return done.returncode, done.stdout


def _json(folder: Path, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_theta(folder, *words, "--json")[1])
    assert answer["schema"] == f"theta.{words[0]}/1"
    return answer


def _save(folder: Path, value: float) -> None:
    save_file({"w": np.full(4, value, np.float32)}, folder / "model.safetensors")


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which main and rte changed the same parameter."""
    folder = tmp_path_factory.mktemp("forked")
    _save(folder, 0)
    base = "commit -m base --step 7 --metric val_loss=2 --metric accuracy=0.5"
    for line in ("init", "add model.safetensors", base, "switch -c rte"):
        assert _theta(folder, *line.split())[0] == 0
    for value, branch in ((1, "rte"), (3, "main")):
        assert _theta(folder, "switch", branch)[0] == 0
        _save(folder, value)
        metrics = ("--metric", f"val_loss={value}", "--metric", f"accuracy=0.{value + 5}")
        assert _theta(folder, "commit", "-m", branch, *metrics)[0] == 0
    return folder


REVISIONS = {
    **dict.fromkeys(("main", "refs/heads/main", "HEAD", "@", "best:accuracy"), "main"),
    **dict.fromkeys(("main~1", "HEAD~", "HEAD^", "main@{1}", "@{1}", "step:7"), "base"),
    # rte has a lower loss, but is not in HEAD's history.
    "best:val_loss": "base",
    "rte": "rte",
}


def test_the_revisions(forked: Path) -> None:
    start = _json(forked, "show", "rte")["commit"][:4]
    for revision, message in {**REVISIONS, start: "rte"}.items():
        found = _json(forked, "log", revision, "-n", "1")["commits"][0]
        assert found["message"] == message, revision


SMEAR = """
mode = "smear"
trunk = { revision = "rte" }
experts = [{ name = "a", revision = "rte~1" }, { name = "b", revision = "rte" }]
router = { kind = "zeros" }
"""


def test_the_answers_that_exit_with_1(forked: Path, tmp_path: Path) -> None:
    assert _theta(forked, "commit", "-m", "again")[0] == 1
    assert _theta(forked, "diff", "main", "rte")[0] == 0
    assert _theta(forked, "diff", "main", "rte", "--exit-code")[0] == 1
    assert _theta(forked, "merge", "rte")[0] == 1
    assert _theta(forked, "revert", "rte", "--rule", "w ours")[0] == 1
    assert _theta(forked, "cherry-pick", "rte", "--rule", "w ours")[0] == 1
    (forked / "experts.toml").write_text(SMEAR)
    assert _theta(forked, "compose", "experts.toml", "-o", "experts")[0] == 0
    assert _theta(forked, "compose", "experts.toml", "-o", "experts")[0] == 1
    assert _theta(forked, "undo")[0] == 0
    assert _theta(forked, "fsck")[0] == 0
    assert _theta(tmp_path, "status")[0] == 3
    told = {"cherry-pick", "commit", "compose", "diff", "fsck", "merge", "revert"}
    assert GENERATOR["negatives"]().keys() == told


def test_the_keys_of_the_answers(forked: Path) -> None:
    search = ("--search", "lambda=0.5,1", "--eval", "echo 1")
    searched = _json(forked, "merge", "rte", "-s", "task-arithmetic", *search)
    assert _theta(forked, "undo")[0] == 0
    save_file({"w": np.ones(4, np.float32)}, forked / "fisher")
    stats = _json(forked, "stats", "add", "fisher", "fisher")
    blamed = _json(forked, "blame")
    (forked / "experts.toml").write_text(SMEAR)
    composed = _json(forked, "compose", "experts.toml", "-o", "experts", "--dry-run")
    _save(forked, 9)
    status, diff = _json(forked, "status"), _json(forked, "diff", "main", "rte")
    log, merge = _json(forked, "log"), _json(forked, "merge", "rte", "--dry-run")
    decided = _json(forked, "merge", "rte", "-s", "average", "--dry-run")
    answers = {
        "status": status,
        "status: files[]": status["files"][0],
        "status: files[].params[]": status["files"][0]["params"][0],
        "log": log,
        "log: commits[]": log["commits"][0],
        "diff": diff,
        "diff: files[]": diff["files"][0],
        "diff: files[].params[]": diff["files"][0]["params"][0],
        "merge": merge,
        "merge: conflicts[]": merge["conflicts"][0],
        "merge: resolved[]": decided["resolved"][0],
        "merge --search: trials[]": searched["trials"][0],
        "cherry-pick, revert": _json(forked, "revert", "HEAD", "--dry-run"),
        "stats": stats,
        "stats: statistics[]": stats["statistics"][0],
        "blame": blamed,
        "compose": composed,
        "blame: params[]": blamed["params"][0],
        "gc": _json(forked, "gc", "--dry-run"),
        "commit": (commit := _json(forked, "commit", "-m", "three", "--timings")),
        "commit --timings: timings": commit["timings"],
        "commit --timings: timings.stages[]": commit["timings"]["stages"][0],
        "undo --dry-run": _json(forked, "undo", "--dry-run"),
        "undo": _json(forked, "undo"),
        "forget": _json(forked, "forget", "main~1", "--dry-run"),
        **{verb: _json(forked, verb) for verb in ("du", "fsck", "branch", "tag", "op", "ls")},
    }
    documented = {where: set(keys) for where, keys in GENERATOR["JSON_KEYS"].items()}
    assert documented.keys() == answers.keys()
    for where, keys in documented.items():
        assert keys <= answers[where].keys(), where
