"""Every documented exit code, met through the real command line."""

import contextlib
import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from tests.theta.cli.conftest import Answer, Shell, mounted
from theta.cli.commit import _edited
from theta.cli.terminal import Terminal
from theta_store.errors import (
    HashMismatch,
    IntegrityError,
    MissingObject,
    RemoteError,
    ThetaError,
    UsageError,
)
from theta_store.limits import Limits

THETA = (sys.executable, "-m", "theta")
# Most of it is still to come when the first of it has arrived.
BIG = 384 << 20


def _theta(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*THETA, *words], cwd=folder, capture_output=True, text=True, timeout=120, **options
    )


def _error(answer: Answer | subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one JSON object of an error, its keys checked."""
    out = answer.out if isinstance(answer, Answer) else answer.stdout
    found: dict[str, Any] = json.loads(out)
    assert found.keys() == {"schema", "kind", "message", "hint"}
    assert found["schema"] == "theta.error/1"
    assert found["message"]
    return found


# 0 and 1: done, and negative answers --------------------------------------------------------


def test_0_done_and_1_nothing_to_commit(model: Shell) -> None:
    model("status")
    assert _error(model("commit", "-m", "again", "--json", code=1))["kind"] == "nothing-to-commit"


def test_1_differences_where_the_exit_code_is_asked_for(model: Shell) -> None:
    model("diff", "--exit-code")
    model.save(a=3, b=2)
    model("diff")
    model("diff", "--exit-code", code=1)
    assert model("diff", "--exit-code", "--json", code=1).json["files"]


def test_1_conflicts_without_a_terminal(model: Shell) -> None:
    model("switch", "-c", "other")
    model.commit("theirs", a=5, b=2)
    model("switch", "main")
    model.commit("ours", a=7, b=2)
    assert model("merge", "other", "--json", code=1).json["conflicts"]
    assert model.load() == {"a": 7, "b": 2}


def _flip_payload(folder: Path, payload: bytes) -> None:
    """Flip one bit of a payload that is kept as it is."""
    (path,) = folder.glob(".theta/store/volumes/*/data.mdb")
    data = bytearray(path.read_bytes())
    at = data.find(payload)
    assert at > 0
    data[at + len(payload) // 2] ^= 4
    path.write_bytes(data)


@pytest.fixture
def damaged(shell: Shell) -> Shell:
    """A repository with one bit flipped in the payload of ``noise.bin``."""
    noise = np.random.default_rng(7).bytes(20_000)
    (shell.folder / "noise.bin").write_bytes(noise)
    shell("add", "noise.bin")
    shell("commit", "-m", "noise")
    _flip_payload(shell.folder, noise)
    return shell


def test_1_fsck_finds_problems(damaged: Shell) -> None:
    assert not damaged("fsck", "--json", code=1).json["ok"]


# 2: usage -----------------------------------------------------------------------------------

USAGE = (
    "",
    "lgo",
    "log --bogus",
    "log -n x",
    "log -n -1",
    "commit",
    "commit -m m --metric broken",
    "add",
    "cat",
    "cat HEAD",
    "branch a b c",
    "op nonsense",
    "merge",
    "-C",
)


@pytest.mark.parametrize("words", USAGE)
def test_2_usage(model: Shell, words: str) -> None:
    answer = model(*words.split(), code=2)
    assert answer.out == ""
    assert answer.err
    if words and words != "-C":
        assert _error(model(*words.split(), "--json", code=2))["kind"]


def test_2_an_unknown_verb_is_answered_with_a_guess(model: Shell) -> None:
    assert "Did you mean 'log'" in model("lgo", code=2).err
    error = _error(model("lgo", "--json", code=2))
    assert (error["kind"], "'log'" in error["message"]) == ("usage", True)
    assert error["hint"] == "theta --help"


def test_2_a_verb_that_is_like_no_other_is_not_guessed(model: Shell) -> None:
    assert "Did you mean" not in model("bundle", code=2).err


@pytest.mark.parametrize("words", ["--color blue log", "log --color=blue", "log --color blue"])
def test_2_a_colour_is_asked_for_by_one_of_three_words(model: Shell, words: str) -> None:
    assert "auto, always, never" in model(*words.split(), code=2).err
    assert _error(model(*words.split(), "--json", code=2))["kind"] == "usage"


def test_help_is_also_a_word(model: Shell) -> None:
    assert model("help", "log").out == model("log", "--help").out
    assert model("help").out == model("--help").out
    model("help", "lgo", code=2)


@pytest.mark.parametrize(("editor", "code"), [("no-such-editor", 127), ("false", 1)])
def test_2_an_editor_that_fails_commits_nothing(editor: str, code: int) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal(env={"EDITOR": editor}, stdin=Tty(), stderr=Tty())
    with pytest.raises(UsageError, match=f"'{editor}' ended with {code}; nothing was committed"):
        _edited(terminal)


def test_2_a_wrong_option_points_to_the_help_of_its_verb(model: Shell) -> None:
    assert "Try: theta log --help" in model("log", "--bogus", code=2).err


# 3 and 4: nothing there ---------------------------------------------------------------------


@pytest.mark.parametrize("words", ["status", "log", "commit -m m", "fsck", "gc", "cat HEAD:x"])
def test_3_not_a_repository(
    tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path, capsys.readouterr)
    assert "theta init" in shell(*words.split(), code=3).err
    if not words.startswith("cat"):
        assert _error(shell(*words.split(), "--json", code=3))["kind"] == "not-a-repository"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("show nonsense", "unknown-revision"),
        ("log nonsense", "unknown-revision"),
        ("show HEAD~9", "unknown-revision"),
        ("switch nonsense", "unknown-revision"),
        ("show HEAD:nonsense", "unknown-file"),
        ("restore nonsense", "unknown-file"),
        ("add nonsense", "unknown-file"),
        ("show HEAD:m.safetensors::nonsense", "unknown-parameter"),
        ("redo", "not-found"),
    ],
)
def test_4_unknown_revision_file_or_parameter(model: Shell, words: str, kind: str) -> None:
    error = _error(model(*words.split(), "--json", code=4))
    assert error["kind"] == kind


def test_4_the_files_of_a_forgotten_commit(model: Shell) -> None:
    first = model("log", "--json").json["commits"][0]["commit"]
    model.commit("second", a=8, b=9)
    model("forget", "HEAD~1")
    model("gc", "--now")
    error = _error(model("restore", "--source", first, "m.safetensors", "--json", code=4))
    assert error["kind"] == "expired-commit"


# 5: a lost race -----------------------------------------------------------------------------


@contextlib.contextmanager
def _long_commit(shell: Shell, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the commit of a large file, and yield once its payload arrives in the volumes.

    All of them are made by then: who makes one writes to the index, and stopped there would keep
    everybody else out of it.
    """
    (shell.folder / "big.bin").write_bytes(np.random.default_rng(3).bytes(BIG))
    shell("add", "big.bin")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*THETA, "commit", "-m", "big", *words],
        cwd=shell.folder,
        stdout=pipe,
        stderr=pipe,
        text=True,
    ) as process:
        limit = time.monotonic() + 60
        while not _is_arriving(shell.folder) and process.poll() is None:
            assert time.monotonic() < limit
        yield process


def _is_arriving(folder: Path) -> bool:
    volumes = list(folder.glob(".theta/store/volumes/*/data.mdb"))
    size = sum(path.stat().st_size for path in volumes)
    return size >= BIG // 16 and len(volumes) >= Limits().writers


def test_5_somebody_else_moved_the_ref(model: Shell) -> None:
    model.commit("second", a=8, b=9)
    with _long_commit(model, "--json") as process:
        process.send_signal(signal.SIGSTOP)
        try:
            moved = _theta(model.folder, "reset", "HEAD~1")
        finally:
            process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=120)
    assert moved.returncode == 0, moved.stderr
    assert process.returncode == 5, err
    assert json.loads(out)["kind"] == "ref-moved"
    assert [c["message"] for c in model("log", "--json").json["commits"]] == ["first"]
    model("fsck")
    model.commit("again")


# 6: damage ----------------------------------------------------------------------------------


def test_6_a_flipped_bit(damaged: Shell) -> None:
    (damaged.folder / "noise.bin").unlink()
    error = _error(damaged("restore", "noise.bin", "--json", code=6))
    assert error["kind"] == HashMismatch.kind
    assert error["hint"] == "theta fsck"
    assert not (damaged.folder / "noise.bin").exists()


def test_6_a_lost_volume(model: Shell) -> None:
    for volume in model.folder.glob(".theta/store/volumes/*"):
        shutil.rmtree(volume)
    (model.folder / "m.safetensors").unlink()
    assert _error(model("restore", "m.safetensors", "--json", code=6))["kind"] == MissingObject.kind


def test_6_a_store_that_cannot_be_opened(model: Shell) -> None:
    path = model.folder / ".theta" / "store" / "meta" / "data.mdb"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for verb in ("log", "status", "fsck"):
        assert _error(model(verb, "--json", code=6))["kind"] == IntegrityError.kind


# 7: resources -------------------------------------------------------------------------------


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files there")
def test_7_no_file_may_grow_further(model: Shell) -> None:
    (model.folder / "big.bin").write_bytes(np.random.default_rng(3).bytes(16 << 20))
    model("add", "big.bin")
    before = model("log", "--json").json
    done = _theta(model.folder, "commit", "-m", "big", "--json", preexec_fn=_limited)
    assert done.returncode == 7, done
    assert _error(done)["kind"] == "disk-full"
    assert model("log", "--json").json == before
    model("fsck")
    model.commit("now there is room")
    (model.folder / "big.bin").unlink()
    done = _theta(model.folder, "restore", "big.bin", "--json", preexec_fn=_limited)
    assert done.returncode == 7, done
    assert _error(done)["kind"] == "disk-full"
    assert sorted(p.name for p in model.folder.iterdir()) == [".theta", "m.safetensors"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    yield from mounted(tmp_path / "disk", "8m")


def test_7_the_disk_is_full(shell: Shell, small_disk: Path) -> None:
    work = shell.folder / "work"
    shell("init", str(work), "--store", str(small_disk / "store"))
    (work / "big.bin").write_bytes(np.random.default_rng(3).bytes(16 << 20))
    shell("-C", str(work), "add", "big.bin")
    error = _error(shell("-C", str(work), "commit", "-m", "big", "--json", code=7))
    assert error["kind"] == "disk-full"
    assert error["hint"] == "theta gc --dry-run"
    shell("-C", str(work), "gc", "--now")
    (work / "big.bin").write_bytes(b"small")
    shell("-C", str(work), "commit", "-m", "small")
    shell("-C", str(work), "fsck")


def test_7_another_process_holds_the_lock(model: Shell) -> None:
    from filelock import FileLock

    with FileLock(model.folder / ".theta" / "store" / "gc.lock"):
        done = _theta(model.folder, "gc", "--json")
    assert done.returncode == 7
    assert _error(done)["kind"] == "locked"


def test_7_memory(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, MemoryError())
    assert _error(model("du", "--json", code=7))["kind"] == "resource"


# 8: the other side --------------------------------------------------------------------------


def test_8_the_other_repository_failed(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No verb talks to another repository yet; the error has its code."""
    _break(monkeypatch, RemoteError("it hung up"))
    assert _error(model("du", "--json", code=8))["kind"] == "remote"


# 9: refused as unsafe -----------------------------------------------------------------------


def test_9_unsaved_changes(model: Shell) -> None:
    model.commit("second", a=8, b=9)
    path = model.save(a=3, b=3)
    before = path.read_bytes()
    error = _error(model("switch", "--detach", "HEAD~1", "--json", code=9))
    assert error["kind"] == "unsaved-changes"
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["../x.bin", "/etc/hostname", ".theta/config.toml"])
def test_9_a_path_outside_the_workspace(model: Shell, path: str) -> None:
    (model.folder.parent / "x.bin").write_bytes(b"x")
    assert _error(model("add", path, "--json", code=9))["kind"] == "unsafe-path"


class _Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch evil-was-here",)


def test_9_parameters_of_a_pickle_that_could_execute_something(shell: Shell) -> None:
    with zipfile.ZipFile(shell.folder / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"w": _Evil()}, protocol=2))
        archive.writestr("evil/version", "3\n")
    shell("add", "evil.pt")
    assert "system" in shell("commit", "-m", "evil").err
    before = (shell.folder / "evil.pt").read_bytes()
    for words in (["show", "HEAD:evil.pt::w"], ["ls", "HEAD:evil.pt"]):
        assert _error(shell(*words, "--json", code=9))["kind"] == "opaque-file"
    assert "state_dict" in shell("cat", "HEAD:evil.pt::w", code=9).err
    (shell.folder / "evil.pt").unlink()
    shell("restore", "evil.pt")
    assert (shell.folder / "evil.pt").read_bytes() == before
    assert not (shell.folder / "evil-was-here").exists()


def test_9_a_file_that_lies_and_a_newer_repository(model: Shell) -> None:
    path = model.folder / "m.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert _error(model("commit", "-m", "m", "--json", code=9))["kind"] == "malformed-file"


# 70 and 130: a bug, and Ctrl-C --------------------------------------------------------------


def _break(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def du(
        ctx: typer.Context,
        json: bool = typer.Option(False, "--json"),
    ) -> None:
        raise error

    monkeypatch.setattr("theta.cli.du.du", du)


def test_70_a_bug_asks_to_be_reported(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, ZeroDivisionError("1 / 0"))
    answer = model("du", code=70)
    assert "Traceback" in answer.err
    assert "bug in theta" in answer.err
    answer = model("du", "--json", code=70)
    assert _error(answer)["kind"] == "bug"
    assert "ZeroDivisionError" in answer.err


def test_every_error_ends_with_its_code(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [ThetaError]
    while left:
        error = left.pop()
        left += error.__subclasses__()
        _break(monkeypatch, error("a message", hint="theta log"))
        answer = model("du", code=error.exit_code)
        assert answer.err == "error: a message\nTry: theta log\n"
        assert _error(model("du", "--json", code=error.exit_code)) == {
            "schema": "theta.error/1",
            "kind": error.kind,
            "message": "a message",
            "hint": "theta log",
        }


def test_130_interrupted_in_a_long_commit(model: Shell) -> None:
    before = model("log", "--json").json
    with _long_commit(model) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    assert model("log", "--json").json == before
    model("fsck")
    model.commit("big after all")


def test_130_interrupted_under_json(model: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch, KeyboardInterrupt())
    assert _error(model("du", "--json", code=130))["kind"] == "interrupted"


def test_130_ctrl_c_at_the_prompt_changes_nothing(model: Shell) -> None:
    pexpect = pytest.importorskip("pexpect", reason="no pseudo-terminals on this system")
    model("switch", "-c", "other")
    model.commit("theirs", a=5, b=2)
    model("switch", "main")
    model.commit("ours", a=7, b=2)
    shell = pexpect.spawn(THETA[0], [*THETA[1:], "merge", "other"], cwd=str(model.folder))
    shell.expect_exact("θ ".encode())
    shell.sendintr()
    shell.expect(pexpect.EOF, timeout=30)
    shell.close()
    assert shell.exitstatus == 130
    assert model.load() == {"a": 7, "b": 2}
    assert model("status", "--json").json["clean"]


# A closed pipe ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["log", "log --json", "cat HEAD:lines.txt"])
@pytest.mark.parametrize("lines", [0, 1])
def test_a_closed_pipe_ends_quietly_with_0(model: Shell, words: str, lines: int) -> None:
    """``theta log | head -1``, with more to say than a pipe holds, and with less."""
    for size in (10, 300_000):
        model("commit", "--allow-empty", "-m", "many words\n\n" + "word " * (size // 5))
        (model.folder / "lines.txt").write_text("a line\n" * size)
        model("add", "lines.txt")
        model("commit", "-m", "lines")
        with subprocess.Popen(
            [*THETA, *words.split()],
            cwd=model.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for _ in range(lines):
                assert process.stdout.readline()
            process.stdout.close()
            err = process.stderr.read()
            process.wait(timeout=60)
        assert (process.returncode, err) == (0, b"")
