"""What a verb sees of the outside world: streams, colours, the environment, the author.

Owns everything that is printed and every reading of the environment. Must not know any verb.
stdout is data, stderr is talk.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import msgspec

from theta.escapes import escaped
from theta.progress import SILENT, Progress

if TYPE_CHECKING:
    from theta.repo import Author, Looking, Repo
    from theta.repo.opened import Opened

COLORS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bold": 1}
COLORS["dim"] = 2
# Stands where a colour begins or ends until the line is printed: no name has it, for it is half of
# a character. So what theta colours is told from escapes in the names between.
MARK = "\ud800"
CODES = frozenset({"0", *map(str, COLORS.values())})

R = TypeVar("R", bound="Opened")


class Terminal(msgspec.Struct):
    """One run of the command line.

    ``after`` holds what followed ``--`` on the command line: always paths.
    """

    env: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(os.environ))
    stdin: TextIO = msgspec.field(default_factory=lambda: sys.stdin)
    stdout: TextIO = msgspec.field(default_factory=lambda: sys.stdout)
    stderr: TextIO = msgspec.field(default_factory=lambda: sys.stderr)
    cwd: Path = msgspec.field(default_factory=Path.cwd)
    after: tuple[str, ...] = ()
    quiet: bool = False
    verbose: bool = False
    color: str = "auto"
    json: bool = False

    # Output -------------------------------------------------------------------------------

    def out(self, text: str = "") -> None:
        """Print a line of data."""
        self._print(self.stdout, text)

    def body(self, text: str) -> None:
        """Print a message, indented; its lines and tabs stay what they are."""
        for line in text.splitlines():
            self.stdout.write("\t".join(map(_legible, f"    {line}".split("\t"))) + "\n")

    def talk(self, text: str) -> None:
        """Print a line for people, unless they asked for quiet."""
        if not self.quiet and not self.json:
            self.say(text)

    def detail(self, text: str) -> None:
        """Print a line for people who asked for more."""
        if self.verbose:
            self.talk(text)

    def done(self, text: str, would: str | None) -> None:
        """Say what was done; in a dry run print what would be."""
        if would is None:
            self.talk(text)
        elif not self.json:
            self.out(would)

    def say(self, *lines: str) -> None:
        """Print lines for people, quiet or not: an error, a question."""
        for line in lines:
            self._print(self.stderr, line)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.say(self.paint("yellow", "warning: ", stream=self.stderr) + text)

    def answer(self, verb: str, value: Mapping[str, Any]) -> None:
        """Print the one JSON object of a verb."""
        import json  # most runs print for people

        answer = {"schema": f"theta.{verb}/1", **value}
        text = json.dumps(answer, ensure_ascii=False)
        if not _fits(text, self.stdout):
            text = json.dumps(answer)
        self.stdout.write(text + "\n")

    def _print(self, stream: TextIO, text: str) -> None:
        """Print one line: whatever is in it, it neither ends early nor acts on the terminal."""
        stream.write(_legible(text) + "\n")

    def paint(self, style: str, text: str, *, stream: TextIO | None = None) -> str:
        """Return text in a colour, where colours are wanted and the stream can show them."""
        if not self._colorful(stream or self.stdout):
            return text
        return f"{MARK}{COLORS[style]}m{text}{MARK}0m"

    def _colorful(self, stream: TextIO) -> bool:
        if self.color != "auto":
            return self.color == "always"
        return stream.isatty() and not self.env.get("NO_COLOR")

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return self.stdin.isatty() and self.stderr.isatty()

    def progress(self) -> Progress:
        """Return a bar on stderr that shows up after a second, or silence."""
        if self.quiet or self.json or not self.stderr.isatty():
            return SILENT
        return Bar(self.stderr)

    # The environment ----------------------------------------------------------------------

    def set_default(self, name: str, value: str) -> None:
        """Set a variable for the libraries of this process, unless the user has set it."""
        os.environ.setdefault(name, value)

    @property
    def global_config(self) -> Path | None:
        """The user's own configuration file."""
        if "THETA_CONFIG" in self.env:
            return Path(self.env["THETA_CONFIG"])
        base = self.env.get("XDG_CONFIG_HOME") or str(Path(self.env.get("HOME", "~")) / ".config")
        return Path(base).expanduser() / "theta" / "config.toml"

    def open(self) -> "Repo":
        """Open the repository around the current folder."""
        from theta.repo import Repo

        return self.open_for(Repo)

    def look(self) -> "Looking":
        """Open it for a verb that only looks; it starts faster."""
        from theta.repo import Looking

        return self.open_for(Looking)

    def open_for(self, verbs: type[R]) -> R:
        """Open it for the verbs of one class; only the module of these is imported."""
        return verbs.open(self.cwd, global_config=self.global_config)

    def author(self, repo: "Opened", given: str | None = None) -> "Author":
        """Return who makes a commit: an option, the environment, config, else the login name."""
        from theta.repo import Author

        name = given or self.env.get("THETA_AUTHOR") or self._configured(repo) or _login()
        zone = time.localtime().tm_gmtoff // 60
        return Author(name, zone)

    def _configured(self, repo: "Opened") -> str | None:
        name, mail = repo.config.text("user.name"), repo.config.text("user.email")
        if not name:
            return None
        return f"{name} <{mail}>" if mail else name

    def paths(self, given: Sequence[str] | None) -> list[str]:
        """Return the paths of a command, those after ``--`` included."""
        return [*(given or ()), *self.after]


def _login() -> str:
    import getpass  # only who makes a commit is asked for

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _legible(text: str) -> str:
    """Return a line with the colours that `Terminal.paint` marked, and nothing else that acts."""
    first, *marked = text.split(MARK)
    return escaped(first) + "".join(map(_colored, marked))


def _colored(part: str) -> str:
    code, _, text = part.partition("m")
    return f"\x1b[{code}m{escaped(text)}" if code in CODES else escaped(MARK + part)


def _fits(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Bar:
    """A progress bar of rich, imported when work has lasted for a second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None
        self._task: Any = None
        self._what, self._total, self._done = "", 0, 0
        self._since = time.monotonic()

    def begin(self, what: str, total: int) -> None:
        """Start a stage."""
        self.close()
        self._what, self._total, self._done = what, total, 0
        self._since = time.monotonic()

    def advance(self, done: int) -> None:
        """Count bytes as done."""
        self._done += done
        if self._bar is None and time.monotonic() - self._since > 1 and self._total:
            self._show()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
            if self._done >= self._total:
                self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
        )
        self._task = self._bar.add_task(self._what, total=self._total)
        self._bar.start()
