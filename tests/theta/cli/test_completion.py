"""Completion: what shells are told, a step at a time, and that they are never told an error."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.theta.cli.conftest import Shell
from theta.cli import build, run
from theta.cli.completing import COMPLETERS
from theta.cli.completion import SCRIPTS

BIN = Path(sys.executable).parent
Ask = Callable[..., list[str]]


@pytest.fixture
def ask(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """A repository with branches, a tag, steps and nested names, and a shell that asks about it."""
    shell.save(enc__0__w=1, enc__0__b=1, enc__1__w=1, head=1)
    shell("add", ".")
    shell.commit("first", "--step", "100", "--metric", "val_loss=2")
    shell("branch", "feature/x")
    shell("tag", "v1")
    (shell.folder / "sub").mkdir()
    (shell.folder / "sub" / "config.json").write_text("{}")
    shell.commit("second", "--step", "200", "--metric", "acc=1")

    def asked(line: str, *, help_: bool = False, **env: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("_THETA_COMPLETE", "complete_fish" if help_ else "complete_bash")
            patch.setenv("COMP_WORDS", line)
            for name, value in env.items():
                patch.setenv(name, value)
            shell.captured()
            assert run([]) == 0
            out, err = shell.captured()
        assert err == ""
        return out.splitlines()

    return asked


def test_verbs_and_options(ask: Ask) -> None:
    assert ask("theta co") == ["commit", "compose", "config", "completion"]
    assert "track" not in ask("theta ")
    assert {"-C", "--verbose", "--quiet", "--color"} <= set(ask("theta -"))
    assert set(ask("theta commit --a")) == {"--all", "--amend", "--allow-empty", "--author", "--as"}
    assert ask("theta track --j") == ["--json"]


def test_revisions(ask: Ask) -> None:
    assert ask("theta show ") == ["feature/x", "main", "v1", "HEAD"]
    assert ask("theta switch fe", help_=True) == ["feature/x\tfirst"]
    assert ask("theta show fe") == ["feature/x", "feature/x:"]
    assert ask("theta show main") == ["main", "main:"]
    assert ask("theta log v1..m") == ["v1..main"]
    assert ask("theta reset step:") == ["step:200", "step:100"]
    assert ask("theta reset best:") == ["best:acc", "best:val_loss"]
    assert ask("theta switch ") == ["feature/x", "main"]
    assert ask("theta tag -d ") == ["v1"]
    assert ask("theta restore --source fe") == ["feature/x"]
    assert ask("theta restore --source=fe") == ["--source=feature/x"]
    assert ask("theta merge v") == ["v1"]


def test_an_address_is_completed_step_by_step(ask: Ask) -> None:
    assert ask("theta show main:") == ["main:m.safetensors", "main:sub/config.json"]
    assert ask("theta show main:s") == ["main:sub/config.json"]
    assert ask("theta cat v1:") == ["v1:m.safetensors", "v1:m.safetensors::"]
    file = "main:m.safetensors"
    assert ask(f"theta show {file}") == [file, f"{file}::"]
    assert ask(f"theta show {file}::") == [f"{file}::enc.", f"{file}::head"]
    assert ask(f"theta show {file}::enc.") == [f"{file}::enc.0.", f"{file}::enc.1."]
    assert ask("theta show v1::enc.0.") == ["v1::enc.0.b", "v1::enc.0.w"]
    assert ask("theta show step:100:m")[0] == "step:100:m.safetensors"
    assert ask("theta show main:m.safetensors::nope.") == []


def test_files_parameters_metrics_and_fixed_words(ask: Ask) -> None:
    assert ask("theta restore ") == ["m.safetensors", "sub/config.json"]
    assert ask("theta restore --source v1 ") == ["m.safetensors"]
    assert ask("theta rm s") == ["sub/config.json"]
    assert ask("theta restore m.safetensors -p en") == ["enc."]
    assert ask("theta log --params enc.0.") == ["enc.0.b", "enc.0.w"]
    assert ask("theta log --metric v") == ["val_loss"]
    assert ask("theta gc --keep-best a") == ["acc:"]
    assert "average" in ask("theta merge -s a")
    assert ask("theta commit --guard ") == ["finite"]
    assert ask("theta completion ") == ["bash", "zsh", "fish"]
    assert "gc.undo" in ask("theta config ")
    assert ask("theta add ") == []
    assert ask("theta log -- m") == []


def test_the_word_may_be_given_by_its_number(ask: Ask) -> None:
    assert ask("theta switch fe --json", COMP_CWORD="2") == ["feature/x"]
    assert ask("theta show", COMP_CWORD="2") == ["feature/x", "main", "v1", "HEAD"]


def test_another_folder(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert ask(f"theta -C {tmp_path / 'work'} switch m") == ["main"]


@pytest.mark.parametrize(
    "line",
    ["theta show ", "theta show x:y::z", "theta nonsense x", "theta", "", 'theta show "', "\0"],
)
def test_no_question_is_answered_with_an_error(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    ask(line.replace("\0", "theta -C"))
    monkeypatch.chdir(tmp_path)
    ask(line.replace("\0", "theta -C"))
    monkeypatch.setenv("COMP_CWORD", "nonsense")
    ask(line.replace("\0", "theta -C"))


def test_a_damaged_repository_is_no_error(ask: Ask) -> None:
    Path(".theta/config.toml").write_text("= broken")
    assert ask("theta show ") == []


def test_what_is_completed_exists() -> None:
    commands = build().commands
    for verb, name in COMPLETERS:
        assert name in {param.name for param in commands[verb].params}, (verb, name)


def test_completion_imports_neither_numpy_nor_rich(ask: Ask) -> None:
    program = (
        "import sys; from theta.cli import run; run([]); "
        "print([m for m in ('numpy', 'rich', 'torch', 'tomlkit') if m in sys.modules])"
    )
    env = {**os.environ, "_THETA_COMPLETE": "complete_bash", "COMP_WORDS": "theta show main::e"}
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["main::enc.", "[]"]


def test_scripts_are_printed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SCRIPTS:
        assert "_THETA_COMPLETE=complete_" + name in shell("completion", name).out
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert shell("completion").out.startswith("#compdef")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    shell("completion", code=2)
    monkeypatch.delenv("SHELL")
    shell("completion", code=2)


# Real shells ----------------------------------------------------------------------------------


def _typed(command: list[str], setup: str, typed: str) -> list[str]:
    """Type into a real shell and return the words that stand on its line then."""
    pexpect = pytest.importorskip("pexpect")
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb"}
    child = pexpect.spawn(command[0], command[1:], env=env, encoding="utf-8", timeout=30)
    try:
        child.setwinsize(40, 200)
        for line in setup.splitlines():
            child.sendline(line)
        child.sendline("echo rea''dy")
        child.expect("ready")
        # Control-A goes to the start of the line: the words are printed, not run.
        child.send(typed + "\x01printf '<%s>' BEGIN \r")
        child.expect("<BEGIN>((<[^>]*>)*)")
        return re.findall("<([^>]*)>", child.match[1])
    finally:
        child.close(force=True)


TYPED = [
    ("theta sw\tfe\tx", ["switch", "feature/x", "x"]),
    ("theta show main:m\t::en\t0.w", ["show", "main:m.safetensors::enc.0.w"]),
    ("theta show main:sub\t--json", ["show", "main:sub/config.json", "--json"]),
    ("theta restore --source=v\tm", ["restore", "--source=v1", "m"]),
    ("theta add s\tc\t", ["add", "sub/config.json"]),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(("typed", "words"), TYPED)
def test_bash(ask: Ask, typed: str, words: list[str]) -> None:
    setup = 'eval "$(theta completion bash)"'
    assert _typed(["bash", "--norc", "-i"], setup, typed) == ["theta", *words]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
@pytest.mark.parametrize(("typed", "words"), TYPED)
def test_zsh(ask: Ask, typed: str, words: list[str]) -> None:
    setup = 'autoload -Uz compinit; compinit -u -D\neval "$(theta completion zsh)"'
    assert _typed(["zsh", "-f", "-i"], setup, typed) == ["theta", *words]


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("theta sw", "switch"),
        ("theta switch fe", "feature/x\tfirst"),
        ("theta show main::enc.0.", "main::enc.0.b\nmain::enc.0.w"),
        ("theta add s", "sub/"),
    ],
)
def test_fish(ask: Ask, line: str, wanted: str) -> None:
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    program = f"theta completion fish | source; complete -C '{line}'"
    command = ["fish", "--no-config", "-c", program]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == wanted
