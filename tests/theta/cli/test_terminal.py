"""Whatever names and messages hold, a line of theta's is one line, and only theta colours it."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.theta.cli.conftest import Shell
from theta.cli.terminal import MARK, Terminal

NAME = "w\x1b[2J\nfake\u202e"
SHOWN = "w\\x1b[2J\\nfake\\u202e"
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _terminal(color: str = "never") -> tuple[Terminal, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Terminal(stdout=out, stderr=err, color=color), out, err


def test_names_are_spelled_and_colours_stay() -> None:
    terminal, out, err = _terminal("always")
    terminal.out(f"{terminal.paint('red', NAME)} {NAME}")
    terminal.talk(NAME)
    terminal.warn(NAME)
    assert out.getvalue() == f"\x1b[31m{SHOWN}\x1b[0m {SHOWN}\n"
    assert err.getvalue() == f"{SHOWN}\n\x1b[33mwarning: \x1b[0m{SHOWN}\n"


def test_a_name_cannot_bring_its_own_colour() -> None:
    terminal, out, _ = _terminal("always")
    terminal.out(f"\x1b[31ma {MARK}8mb")
    assert out.getvalue() == "\\x1b[31ma \\ud8008mb\n"


def test_a_body_keeps_its_lines_and_tabs() -> None:
    terminal, out, _ = _terminal()
    terminal.body("one\ttwo\x1b[2J\n\nthree\u202e")
    assert out.getvalue() == "    one\ttwo\\x1b[2J\n    \n    three\\u202e\n"


def test_json_says_names_as_they_are() -> None:
    terminal, out, _ = _terminal()
    terminal.answer("x", {"name": NAME})
    assert json.loads(out.getvalue())["name"] == NAME


@pytest.fixture
def hostile(shell: Shell) -> Shell:
    """Names of parameters and files, and messages, that would act on a terminal."""
    shell.save(NAME + ".safetensors", **{NAME: 1, "b": 2})
    (shell.folder / "\x1b]0;title\x07").write_text("x")
    shell("add", ".")
    shell("commit", "-m", f"{NAME} subject\n\nbody\tof it\x1b[2J")
    shell.save(NAME + ".safetensors", **{NAME: 2, "b": 2})
    return shell


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["log"],
        ["log", "--oneline", "--graph"],
        ["show"],
        ["ls"],
        ["ls", f"HEAD:{NAME}.safetensors"],
        ["diff"],
        ["blame"],
        ["branch"],
        ["du", "--by", "param"],
        ["op", "log"],
        ["-v", "commit", "-m", NAME],
        ["restore", f"{NAME}.safetensors"],
    ],
    ids=" ".join,
)
def test_no_verb_prints_what_acts(hostile: Shell, words: list[str]) -> None:
    answer = hostile(*words)
    assert not ACTING.search(answer.out + answer.err)
    assert not re.search("^fake", answer.out + answer.err, re.MULTILINE)


def test_an_error_is_one_line(hostile: Shell) -> None:
    answer = hostile("cat", f"HEAD:{NAME}", code=4)
    assert answer.err.splitlines()[0].startswith("error: ")
    assert len(answer.err.splitlines()) == 2


def test_the_body_of_a_message_is_shown_line_by_line(hostile: Shell) -> None:
    assert "    body\tof it\\x1b[2J\n" in hostile("log").out


def _in_ascii(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "theta", *words],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )


def test_a_stream_that_lacks_the_letters_gets_them_spelled(shell: Shell) -> None:
    shell.save("重み.safetensors", 重=1)
    shell("add", ".")
    shell.commit("first")
    ls = _in_ascii(shell.folder, "ls")
    assert (ls.returncode, ls.stderr) == (0, "")
    assert "\\u91cd\\u307f.safetensors" in ls.stdout
    answer = _in_ascii(shell.folder, "ls", "--json")
    assert json.loads(answer.stdout)["files"][0]["path"] == "重み.safetensors"
    assert _in_ascii(shell.folder, "--help").returncode == 0
