"""The prompt of ``theta merge``: its answers, its previews, and the rules that it leaves."""

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.theta.cli.conftest import Shell
from tests.theta.cli.merging import branch, forked, tree
from theta.cli.conflicts import Quit, Score, ask
from theta.cli.terminal import Terminal
from theta.merge import Method
from theta_store.errors import UsageError

NAMES = ["h__0__mlp__w", "h__0__attn__w", "h__1__mlp__w", "norm__w"]


@pytest.fixture
def fork(shell: Shell) -> Shell:
    """Four parameters that main and ``rte`` changed, and one that only main has left."""
    start = dict.fromkeys(NAMES, 1.0)
    shell.save(**start, gone=1)
    shell("add", "m.safetensors")
    shell.commit("first")
    theirs = dict(zip(NAMES, [5, 7, 8, 9], strict=True))
    branch(shell, "rte", "main", **theirs)
    shell.commit("ours", **dict.fromkeys(NAMES, 3.0), gone=5)
    return shell


@dataclass
class Talk:
    """A conversation: what was said, and the method that came of it."""

    said: str
    method: Method | None

    @property
    def rules(self) -> list[str]:
        assert self.method is not None
        return [str(rule) for rule in self.method.rules]


def _talk(
    shell: Shell, *answers: str, rules: tuple[str, ...] = (), score: Score | None = None
) -> Talk:
    said = io.StringIO()
    terminal = Terminal(
        stdin=io.StringIO("".join(f"{answer}\n" for answer in answers)), stderr=said
    )
    with shell.repo() as repo:
        plan = repo.plan_merge("rte")
        try:
            method: Method | None = ask(terminal, repo, plan, repo.merge_method(rules), score)
        except Quit:
            method = None
    return Talk(said.getvalue(), method)


def test_a_bare_answer_is_one_rule_for_the_file(fork: Shell) -> None:
    assert _talk(fork, "tt").rules == ["m.safetensors::* theirs"]


def test_what_was_answered_first_wins_and_later_answers_take_the_rest(fork: Shell) -> None:
    talk = _talk(fork, "tt *.mlp.*", "ties density=0.5 h.*", "avg", "tu")
    assert "modify/delete" in talk.said
    assert talk.rules == [
        "m.safetensors::* average",
        "m.safetensors::h.* ties density=0.5",
        "m.safetensors::*.mlp.* theirs",
        "m.safetensors::gone ours",
    ]


def test_answers_do_not_touch_what_rules_have_settled(fork: Shell) -> None:
    talk = _talk(fork, "avg", "tu", rules=("norm.* theirs",))
    assert talk.rules == [
        "m.safetensors::* average",
        "norm.* theirs",
        "m.safetensors::gone ours",
    ]


def test_a_rule_that_could_not_settle_gives_way(fork: Shell) -> None:
    talk = _talk(fork, "tt", rules=("* average",))
    assert talk.rules == ["* average", "m.safetensors::gone theirs"]


def test_undo_takes_the_last_answer_back(fork: Shell) -> None:
    talk = _talk(fork, "undo", "tt *.mlp.*", "undo", "undo", "tu")
    assert talk.said.count("nothing was answered yet") == 2
    assert talk.rules == ["m.safetensors::* ours"]


def test_one_by_one(fork: Shell) -> None:
    talk = _talk(fork, "one", "tt", "nonsense", "avg", "avg", "tu", "one", "avg", "tt")
    assert "'nonsense' is no action" in talk.said
    assert len(talk.rules) == 5


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("nonsense", "'nonsense' is no action; ? explains"),
        ("ties density=7", "ties density=7 is not allowed"),
        ("linear weight=ours:1", "weight names no value for rte"),
        ("avg nothing.*", "no open conflict matches"),
        ("?", "takes the last answer back"),
        ("rules", ""),
        ("", ""),
    ],
)
def test_answers_that_settle_nothing(fork: Shell, answer: str, words: str) -> None:
    talk = _talk(fork, answer, "q")
    assert words in talk.said
    assert talk.method is None


def test_groups_are_globs_that_can_be_typed(fork: Shell) -> None:
    said = _talk(fork, "groups", "q").said
    assert "2 names  content  h.*.mlp.*" in said
    assert "1 name  modify/delete  *" in said


def test_offers_are_what_settles_the_kind(fork: Shell) -> None:
    lines = _talk(fork, "offer", "q").said.splitlines()
    content = next(line for line in lines if "  4 content: " in line)
    assert {"ours", "average", "ties", "slerp"} <= set(content.split())
    deleted = next(line for line in lines if "  1 modify/delete: " in line)
    assert "ours theirs base" in deleted
    assert "average" not in deleted


def test_a_preview_says_how_long_the_change_is_and_where_it_points(fork: Shell) -> None:
    said = _talk(fork, "try avg norm.*", "try tt norm.*", "try tu gone", "q").said
    # Ours changed four elements by 2, theirs by 8, in one direction; the average by 5.
    assert "norm.w: norm 10; main norm 4 cosine 1.000; rte norm 16 cosine 1.000" in said
    assert "norm.w: norm 16; main norm 4" in said
    assert "gone: ours, no numbers to compare" in said
    assert tree(fork) == tree(fork, "main")


def test_a_preview_of_opposite_changes(shell: Shell) -> None:
    shell.save(a=np.zeros(9, np.float32))
    shell("add", "m.safetensors")
    shell.commit("first")
    forked(shell, {"a": np.ones(9, np.float32)}, {"a": -np.ones(9, np.float32)})  # type: ignore[dict-item]
    said = _talk(shell, "try avg", "try linear weight=ours:2,rte:1", "q").said
    assert "a: norm 0; main norm 3 cosine 0.000; rte norm 3 cosine 0.000" in said
    assert "a: norm 1; main norm 3 cosine 1.000; rte norm 3 cosine -1.000" in said


def test_a_preview_is_scored_once_nothing_else_would_be_open(fork: Shell) -> None:
    def score(folder: Path) -> float:
        return float(load_file(folder / "m.safetensors")["norm.w"].mean())

    said = _talk(fork, "try avg norm.*", "tu gone", "tu h.*", "try avg", "try tt", "q", score=score)
    no, *scores = [line.strip() for line in said.said.splitlines() if "score" in line]
    assert no == "no score: 4 conflicts would be left, answer those first"
    assert scores == ["score 6", "score 9"]


def test_a_score_that_fails_is_told_and_nothing_is_lost(fork: Shell) -> None:
    def score(folder: Path) -> float:
        raise UsageError("--eval ended with 3")

    said = _talk(fork, "try tu", "tu", score=score)
    assert "--eval ended with 3" in said.said
    assert said.rules == ["m.safetensors::* ours"]


def test_through_a_pseudo_terminal_and_again_without_one(fork: Shell) -> None:
    pexpect = pytest.importorskip("pexpect", reason="no pseudo-terminals on this system")
    words = ["-m", "theta", "merge", "rte", "--save-rules", "rules.txt", "--eval", "echo 7"]
    talk = pexpect.spawn(
        sys.executable,
        words,
        cwd=str(fork.folder),
        timeout=60,
        encoding="utf-8",
        env={**os.environ, "NO_COLOR": "1"},
    )
    for answer in ("tt *.mlp.*", "avg", "try tu", "tu"):
        talk.expect_exact("θ ")
        talk.sendline(answer)
        if answer.startswith("try"):
            talk.expect_exact("score 7")
    talk.expect(pexpect.EOF)
    talk.close()
    assert talk.exitstatus == 0
    fork("commit", "-m", "merged")
    by_hand = tree(fork)
    assert fork("merge", "--replay", "HEAD", "--json").json["same"]
    fork("reset", "--hard", "HEAD~1")
    rules = Path(fork.folder, "rules.txt").read_text().splitlines()
    assert rules == [
        "m.safetensors::* average",
        "m.safetensors::*.mlp.* theirs",
        "m.safetensors::gone ours",
    ]
    Path(fork.folder, ".thetaattributes").write_text("\n".join(rules))
    fork("merge", "rte")
    assert tree(fork) == by_hand


def test_an_answer_leaves_what_merges_exactly_alone(shell: Shell) -> None:
    def embedding(row: int, value: float) -> np.ndarray:
        made = np.zeros((20, 10), np.float32)
        made[row] = value
        return made

    shell.save(embed__weight=embedding(0, 0), a=1.0, b=1.0)
    shell("add", "m.safetensors")
    shell.commit("first")
    branch(shell, "rte", "main", embed__weight=embedding(5, 1), a=2.0, b=2.0)
    shell.commit("ours", embed__weight=embedding(2, 2), a=3.0, b=3.0)
    for answers in (("tu",), ("avg a", "tu")):
        talk = _talk(shell, *answers)
        assert "embed" not in talk.said
        assert talk.method is not None
        with shell.repo() as repo:
            decided = repo.decide_merge(repo.plan_merge("rte"), talk.method)
        assert not decided.left
        how = {d.conflict.name: d.strategy.id for d in decided.decisions}
        assert how["embed.weight"] == "rows"


def test_the_heading_counts_what_is_open_and_names_some(fork: Shell) -> None:
    said = _talk(fork, "q").said.partition("θ ")[0]
    assert "  avg) average: " in said
    assert f"{len(NAMES) + 1} conflicts: " in said.splitlines()[-1]
    assert "gone" in said.splitlines()[-1]
    assert said.splitlines()[-1].endswith(" … (? explains)") == (len(NAMES) + 1 > 4)


def test_what_settles_no_plain_file_is_not_offered_for_one(shell: Shell) -> None:
    note = shell.folder / "note.bin"
    note.write_bytes(b"\0 base")
    shell("add", "note.bin")
    shell.commit("first")
    shell("switch", "-c", "rte")
    note.write_bytes(b"\0 theirs")
    shell.commit("theirs")
    shell("switch", "main")
    note.write_bytes(b"\0 ours")
    shell.commit("ours")
    said = _talk(shell, "q").said
    assert "tt) take_their" in said
    assert "tu) take_us" in said
    assert "avg)" not in said
    assert "1 conflict: note.bin" in said
