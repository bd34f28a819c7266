"""Pages that a reader can type along, run for real.

Owns the rules by which a page is executed and compared:

- a block ``python NAME`` or ``text NAME`` is a file of that name, written before the next command;
- the lines of ``console`` blocks that start with ``$ `` are commands, those with ``> `` after them
  belong to the same command; all commands of a page run in one bash, in one new folder, with the
  theta and the python of this environment;
- what follows a command is its output, stdout and stderr as they come. Before it is compared,
  ids (ten hex digits, or full ones), times, sizes and the folder are replaced by wildcards. The
  n-th different id of the page stands for the n-th different id of the run. Nothing else may
  differ;
- a command that fails must be followed by ``$ echo $?``.

``python -m tests.docs.transcript PAGE`` puts the output of a run into the page.
"""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Block, blocks

SHOWN_FOLDER = "/home/ada/work"
SECONDS = 300
_MARK = "\x1e"
_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{10})\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: [+-]\d{4})?")
_SIZE = re.compile(r" *\b\d+(?:\.\d+)? (?:B|KiB|MiB|GiB)\b")


@dataclass(frozen=True)
class Command:
    """One ``$`` line and the output that the page shows; ``span`` is where that stands."""

    line: str
    shown: str
    span: tuple[int, int]


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    output: str
    code: int


def commands(text: str) -> list[Command | Block]:
    """Return the commands and files of a page, in order."""
    found: list[Command | Block] = []
    for block in blocks(text, "console", "python", "text"):
        if block.language == "console":
            found += _commands(block)
        elif len(block.words) == 2:
            found.append(block)
    return found


def _commands(block: Block) -> Iterator[Command]:
    starts = [found.start() for found in re.finditer(r"^\$ ", block.text, re.MULTILINE)]
    assert starts[:1] == [0], f"a console block starts with output: {block.text[:40]!r}"
    for start, stop in zip(starts, [*starts[1:], len(block.text)], strict=True):
        lines = block.text[start:stop].splitlines(keepends=True)
        typed = [lines[0], *itertools.takewhile(lambda line: line.startswith("> "), lines[1:])]
        begin = block.start + start + sum(map(len, typed))
        line = "".join(line[2:] for line in typed).rstrip()
        yield Command(line, "".join(lines[len(typed) :]), (begin, block.start + stop))


def run(steps: list[Command | Block], folder: Path) -> list[Ran]:
    """Run a page in a folder; return what each command printed."""
    script = ["cd work"]
    for number, step in enumerate(steps):
        if isinstance(step, Block):
            (folder / f"file{number}").write_text(step.text)
            script.append(f"cp ../file{number} {step.words[1]}")
        else:
            script.append(step.line)
            script.append(f'code=$?; printf "{_MARK}%d{_MARK}" $code; (exit $code)')
    (folder / "work").mkdir()
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    parts = done.stdout.decode().replace(str(folder / "work"), SHOWN_FOLDER).split(_MARK)
    return [Ran(out, int(code)) for out, code in zip(parts[::2], parts[1::2], strict=False)]


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # Unbuffered, so that stdout and stderr come in the order of a terminal.
        "PYTHONUNBUFFERED": "1",
    }


class Wildcards:
    """Replaces what differs from run to run; ids are numbered in the order of their coming."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def replace(self, text: str) -> str:
        """Return the text with wildcards, without spaces at line ends or blank last lines."""
        text = _TIME.sub("TIME", text)
        text = _ID.sub(lambda found: f"ID{self._number(found[0])}", text)
        text = _SIZE.sub(" SIZE", text)
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")

    def _number(self, id_: str) -> int:
        return self._ids.setdefault(id_[:10], len(self._ids) + 1)


def check(page: Path, folder: Path) -> None:
    """Run a page and compare every output with what it shows."""
    steps = commands(page.read_text())
    typed = [step for step in steps if isinstance(step, Command)]
    ran = run(steps, folder)
    shown, real = Wildcards(), Wildcards()
    for command, result in zip(typed, ran, strict=True):
        expected, actual = shown.replace(command.shown), real.replace(result.output)
        assert actual == expected, f"{page.name}: $ {command.line}\n{result.output}"
    for index, (command, result) in enumerate(zip(typed, ran, strict=True)):
        told = index + 1 < len(typed) and typed[index + 1].line == "echo $?"
        assert result.code == 0 or told, f"{page.name}: $ {command.line} ends with {result.code}"


def rewrite(page: Path) -> None:
    """Put the output of a run into a page."""
    text = page.read_text()
    steps = commands(text)
    with tempfile.TemporaryDirectory() as folder:
        ran = run(steps, Path(folder))
    typed = [step for step in steps if isinstance(step, Command)]
    for command, result in reversed(list(zip(typed, ran, strict=True))):
        begin, end = command.span
        lines = "\n".join(line.rstrip() for line in result.output.splitlines()).rstrip("\n")
        blank = "\n" if command.shown.endswith("\n\n") or command.shown == "\n" else ""
        text = text[:begin] + (lines + "\n" if lines else "") + blank + text[end:]
    page.write_text(text)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        rewrite(Path(given))
