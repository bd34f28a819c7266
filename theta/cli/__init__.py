"""The command line: from the arguments to an exit code.

Owns the options before the verb, the choice of the verb's module, and how errors end. Must not
know what any verb does. Only the module of the verb that is asked for is imported.
"""

import copy
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Annotated, TextIO

import typer
from typer._click.core import Context, Parameter
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from theta.cli.terminal import Terminal
from theta_store.errors import DiskFull, ResourceError, ThetaError, UsageError

VERBS = {
    "init": "init",
    "add": "add",
    "track": "add",
    "rm": "rm",
    "status": "status",
    "commit": "commit",
    "log": "log",
    "show": "show",
    "ls": "ls",
    "cat": "cat",
    "restore": "restore",
    "branch": "branch",
    "switch": "switch",
    "checkout": "checkout",
    "export": "export",
    "fsck": "fsck",
    "gc": "gc",
    "diff": "diff",
    "apply": "apply",
    "merge": "merge",
    "compose": "compose",
    "cherry-pick": "cherry_pick",
    "revert": "revert",
    "stats": "stats",
    "blame": "blame",
    "tag": "tag",
    "reset": "reset",
    "undo": "undo",
    "redo": "redo",
    "op": "op",
    "du": "du",
    "config": "config",
    "forget": "forget",
    "repack": "repack",
    "completion": "completion",
}
HIDDEN = frozenset({"track"})
# Verbs that may move many tensors.
MOVING = frozenset(
    {"commit", "restore", "switch", "checkout", "merge", "export", "repack", "reset"}
    | {"apply", "cherry-pick", "compose", "revert", "stats"}
)
TALK = frozenset({"quiet", "verbose"})
EXITS = (
    "Exit codes:  0 done · 1 a negative answer · 2 usage · 3 no repository · "
    "4 unknown revision, file or parameter · 5 the ref moved, retry · 6 integrity · "
    "7 disk, memory or lock · 8 the other repository failed · 9 refused as unsafe · "
    "70 a bug · 130 interrupted"
)
COMPLETE = "_THETA_COMPLETE"
HELP = "theta --help"
COLOR_WHEN = ("auto", "always", "never")
# How alike a word and a verb are before the one is taken for a slip of the other.
CLOSE = 0.65
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    argv, after = _split(list(argv))
    argv, color = _color(argv)
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    _show_what_cannot_be_encoded(sys.stdout)
    terminal = Terminal(after=tuple(after), color=color)
    if COMPLETE in terminal.env:
        from theta.cli.completing import complete

        return complete(terminal, build, {name: name not in HIDDEN for name in VERBS})
    terminal.json = "--json" in argv
    if color not in COLOR_WHEN:
        terminal.color = "auto"
        text = f"--color {color}: {', '.join(COLOR_WHEN)} is expected"
        return _say(terminal, "usage", text, HELP, UsageError.exit_code)
    try:
        code = _run(terminal, argv)
        terminal.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), terminal.stdout.fileno())
        return 0
    return code


def _show_what_cannot_be_encoded(stream: TextIO) -> None:
    r"""Let letters that the stream's encoding lacks be spelled (``\u3042``), as on stderr."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _run(terminal: Terminal, argv: Sequence[str]) -> int:
    word = _verb(argv)
    verb = word if word in VERBS else None
    if verb in MOVING:
        from theta.cli.allocator import keep_pages
        from theta.cli.blas import one_thread

        keep_pages()
        one_thread(terminal)
    try:
        if word not in {None, verb}:
            raise _unknown(str(word))
        code = build(verb)(argv, prog_name="theta", standalone_mode=False, obj=terminal)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer ends so when the reader has gone
            raise error.__context__ from None
        raise
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - every error ends as a message and a code
        return _fail(terminal, error, verb)
    if code == EXIT_INTERRUPTED:  # typer makes an exit of Ctrl-C
        message = "interrupted; no commit and no file was left half written"
        return _say(terminal, "interrupted", message, None, EXIT_INTERRUPTED)
    return code if isinstance(code, int) else 0


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Part the arguments at ``--``, which click would drop without a trace."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _color(argv: list[str]) -> tuple[list[str], str]:
    """Take ``--color`` out, which may stand before or after the verb."""
    left: list[str] = []
    color = "auto"
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--color":
            left.append(word)
            continue
        color = value if equals else next(words, "always")
    return left, color


def _verb(argv: Sequence[str]) -> str | None:
    words = iter(argv)
    for word in words:
        if word in {"-C", "--color"}:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _unknown(word: str) -> UsageError:
    import difflib

    close = difflib.get_close_matches(word, VERBS, n=1, cutoff=CLOSE)
    ask = f" Did you mean {close[0]!r}?" if close else ""
    return UsageError(f"No such command {word!r}.{ask}", hint=HELP)


def build(verb: str | None = None) -> "typer.core.TyperGroup":
    """Return the command with one verb, or with all of them."""
    app = typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        add_completion=False,
        epilog=EXITS,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in [verb] if verb else VERBS:
        module = importlib.import_module(f"theta.cli.{VERBS[name]}")
        function = getattr(module, VERBS[name])
        app.command(name, hidden=name in HIDDEN, epilog=_epilog(module))(function)
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    for option in command.params:
        if option.name in TALK:
            for inner in command.commands.values():
                inner.params.append(_after_verb(option))
    return command


def _epilog(module: ModuleType) -> str:
    """Return what stands below the options: examples, and when the verb exits with 1."""
    negative = getattr(module, "NEGATIVE", None)
    known = f"Exits with 1 if {negative}. " if negative else ""
    return f"{module.EXAMPLES}\n\n{known}All exit codes: theta --help"


def _after_verb(option: Parameter) -> Parameter:
    """Return an option of talk that may also stand after the verb."""
    twin = copy.copy(option)
    twin.expose_value = False
    twin.callback = _talk
    return twin


def _talk(ctx: Context, option: Parameter, value: object) -> None:
    if value and option.name and isinstance(ctx.obj, Terminal):
        setattr(ctx.obj, option.name, True)


def _options(
    ctx: typer.Context,
    folder: Annotated[Path | None, typer.Option("-C", help="Run as if started there.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is data.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    color: Annotated[  # noqa: ARG001 - taken out of the arguments before; here for the help
        str, typer.Option("--color", help="auto, always or never.")
    ] = "auto",
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Version control for the parameters of machine-learning models."""
    terminal: Terminal = ctx.obj
    terminal.quiet, terminal.verbose = quiet, verbose
    if version:
        from theta import __version__

        terminal.out(f"theta {__version__}")
        raise typer.Exit
    if folder is not None:
        terminal.cwd = (terminal.cwd / folder).resolve()


def _fail(terminal: Terminal, error: Exception, verb: str | None) -> int:
    match error:
        case typer.Abort():
            message = "the answer ended before it was complete; nothing was changed"
            return _say(terminal, "interrupted", message, None, EXIT_INTERRUPTED)
        case NoArgsIsHelpError():
            terminal.say(*error.format_message().splitlines())
            return 2
        case ClickException():
            hint = f"theta {verb} --help" if verb else HELP
            text = " ".join(map(str.strip, error.format_message().splitlines()))
            return _say(terminal, "usage", text, hint, 2)
        case ThetaError():
            return _say(terminal, error.kind, error.message, error.hint, error.exit_code)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            where = f" for {error.filename}" if error.filename else ""
            text = f"no space is left{where}"
            return _say(terminal, DiskFull.kind, text, "theta gc --dry-run", DiskFull.exit_code)
        case OSError():
            text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return _say(terminal, ResourceError.kind, text, None, ResourceError.exit_code)
        case MemoryError():
            text = "there is not enough memory; nothing was committed"
            return _say(terminal, ResourceError.kind, text, None, ResourceError.exit_code)
    traceback.print_exception(error, file=terminal.stderr)
    return _say(terminal, "bug", f"this is a bug in theta: {error!r}", "please report it", EXIT_BUG)


def _say(terminal: Terminal, kind: str, message: str, hint: str | None, code: int) -> int:
    if terminal.json:
        terminal.answer("error", {"kind": kind, "message": message, "hint": hint})
        terminal.stdout.flush()
        return code
    terminal.say(terminal.paint("red", "error: ", stream=terminal.stderr) + message)
    if hint:
        terminal.say(f"Try: {hint}" if hint.startswith("theta") else f"Hint: {hint}")
    return code
