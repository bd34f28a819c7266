"""Write ``docs/reference/cli.md`` from what ``--help`` is made of: ``python docs/generate_cli.py``.

The verbs, their options, their examples and when they exit with 1 come from ``theta.cli``, the exit
codes from the tree of errors, the settings from ``theta.config``. What is written here by hand
(revisions, the environment, keys of JSON answers) is checked against the real program by
``tests/docs/test_cli_reference.py``.
"""

import importlib
import re
from collections.abc import Iterator, Set
from pathlib import Path
from types import ModuleType

import typer

import theta_store.store  # noqa: F401 - defines the last of the errors
from theta.cli import EXIT_BUG, EXIT_INTERRUPTED, HIDDEN, TALK, VERBS, build
from theta.config import KNOWN
from theta_store.errors import ThetaError

PAGE = Path(__file__).parent / "reference" / "cli.md"

HEAD = """\
<!-- Made by docs/generate_cli.py from the same source as --help: edit that, then `make docs`. -->

# The command line

`theta VERB --help` prints what stands here, and so does `help` before the verb. stdout is data,
stderr is talk; `-q` silences the talk, `-v` adds to it, and both may also stand after the verb.
Everything after `--` is a path. Nothing is asked unless stdin and stderr are a terminal.
"""

REVISIONS = """\
## Naming things

| what you type | what it means |
|---|---|
| `main`, `v1` | a branch or a tag; a tag wins over a branch of the same name |
| `refs/heads/main` | the full name |
| `HEAD`, `@` | where you are |
| `3f2a`, `3f2a91c07b` | the commit whose id starts so; at least 4 hex digits |
| `step:1000` | the newest commit of HEAD's history that says `--step 1000`; where none does, \
of another branch's, unless branches differ |
| `best:val_loss` | the best commit by a metric, of the same history: the least where the name has \
"loss" or "error" in it, else the greatest; `theta config metric.NAME min` or `max` decides |
| `main~2`, `HEAD~` | so many steps back along first parents |
| `HEAD^2` | the second parent of a merge |
| `main@{1}`, `@{1}` | where a branch, or HEAD, was one move ago |
| `A..B` | in `log`: what B has and A lacks |
| `REV:FILE` | a file of a commit |
| `REV:FILE::PARAM` | a parameter of it |
| `REV::PARAM` | the same, where the commit holds one checkpoint |

Globs for parameters: `*` and `?` match dots too, `[abc]` is a set, `{0..7}` a range of whole
numbers, `{a,b}` a choice. A sharded model is named by its index, its folder, or any of its shards;
`restore` and `export` take a shard at its word.

Letters of names and messages that would act on a terminal are spelled (`\\x1b`, `\\n`, `\\u202e`),
and so are those that the terminal's encoding lacks; JSON has them as they are.
"""

ENVIRONMENT = {
    "THETA_AUTHOR": 'who makes commits, "Name <mail>"; wins over the configuration',
    "THETA_CONFIG": "the path of your own configuration file",
    "XDG_CONFIG_HOME": "the folder of `theta/config.toml`, if `THETA_CONFIG` is not set",
    "HOME": "its `.config` is the folder of `theta/config.toml`, if neither is set",
    "THETA_EDITOR": "the editor for commit messages; then `VISUAL`, then `EDITOR`, then `vi`",
    "VISUAL": "see `THETA_EDITOR`",
    "EDITOR": "see `THETA_EDITOR`",
    "SHELL": "the shell that `theta completion` prints for, if it is told none",
    "NO_COLOR": "if set, no colours unless `--color always`",
}

SETTINGS = {
    "user.name": "who makes commits; otherwise the login name",
    "user.email": "goes with `user.name`",
    "core.threads": "threads that work at once; otherwise the number of cores, 8 at most",
    "core.memory": "bytes in flight while files are stored, written, merged or repacked",
    "gc.undo": "how long gc keeps what `undo` needs",
    "merge.default": "the strategy where no rule of a merge says another",
    "merge.exact": "`false`: changes of different rows or elements of a parameter conflict",
}

JSON_HEAD = """\
## Answers as JSON

`--json` prints one object with the key `schema`, which is `theta.VERB/1`, and these keys. Keys
may be added, those listed stay. Ids are in full, 64 hex digits. A metric or a distance that is NaN
or infinite is null. An error is
an object as well, on stdout: `{"schema": "theta.error/1", "kind": …, "message": …, "hint": …}`.
"""

JSON_KEYS = {
    "commit": ("commit", "parents", "stored_bytes", "logical_bytes", "warnings"),
    "commit --timings: timings": ("wall", "cpu", "stages"),
    "commit --timings: timings.stages[]": ("stage", "wall", "cpu", "bytes"),
    "status": ("branch", "head", "clean", "merging", "files", "untracked", "warnings"),
    "status: files[]": ("path", "state", "params"),
    "status: files[].params[]": ("name", "change"),
    "log": ("commits",),
    "log: commits[]": (
        *("commit", "parents", "message", "author", "time", "step", "metrics", "meta"),
    ),
    "diff": ("files",),
    "diff: files[]": ("path", "change", "params"),
    "diff: files[].params[]": ("name", "change", "before", "after"),
    "merge": ("state", "commit", "conflicts", "resolved"),
    "merge: conflicts[]": ("path", "name", "kind", "why"),
    "merge: resolved[]": ("path", "name", "how"),
    "cherry-pick, revert": ("state", "commit", "conflicts", "resolved"),
    "compose": (
        *("commit", "files", "reused", "router_bytes", "stored_bytes", "manifest", "notices"),
        "dry_run",
    ),
    "merge --search: trials[]": ("values", "score", "best"),
    "stats": ("statistics",),
    "stats: statistics[]": ("kind", "commit", "id", "models", "code"),
    "blame": ("params",),
    "blame: params[]": ("file", "name", "commit", "subject", "strategy", "parameters", "at_least"),
    "du": ("stored_bytes", "logical_bytes", "disk_bytes"),
    "fsck": ("ok", "problems"),
    "gc": (
        "records",
        "chunks",
        "stored_bytes",
        "disk_bytes",
        "base_bytes",
        "idle_bytes",
        "room_bytes",
        "expired",
        "dry_run",
    ),
    "branch": ("branches",),
    "tag": ("tags",),
    "op": ("operations",),
    "undo": ("operation", "files", "kept", "notices", "head", "dry_run"),
    "undo --dry-run": ("operation", "dry_run"),
    "forget": ("commits", "dry_run"),
    "ls": ("files",),
}

EXIT_HEAD = """\
## Exit codes

Every verb ends with one of these. The kinds are the values of `kind` under `--json`.
"""


def page() -> str:
    """Return the whole page."""
    group = build()
    names = [name for name in VERBS if name not in HIDDEN]
    parts = [HEAD, _contents(names), _options("## Before the verb", group)]
    parts += [_verb(name, group.commands[name]) for name in names]
    parts += [REVISIONS, _exit_codes(), _json(), _settings(), _environment()]
    return "\n".join(parts)


def _contents(names: list[str]) -> str:
    verbs = " · ".join(f"[{name}](#theta-{name})" for name in names)
    return (
        f"Verbs: {verbs}. Then: [names](#naming-things) · [exit codes](#exit-codes) · "
        "[JSON](#answers-as-json) · [settings](#settings) · [environment](#environment).\n"
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"theta.cli.{VERBS[name]}")


def negatives() -> dict[str, str]:
    """Return when a verb exits with 1, by verb."""
    found = {name: getattr(_module(name), "NEGATIVE", None) for name in VERBS if name not in HIDDEN}
    return {name: when for name, when in found.items() if when}


def _verb(name: str, command: typer.core.TyperCommand) -> str:
    context = typer.Context(command, info_name=f"theta {name}")
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    paragraphs = [_text(part) for part in (command.help or "").split("\n\n")]
    lines = [f"## theta {name}", "", "\n\n".join(paragraphs), "", "```", usage, "```", ""]
    lines += _records(command, context, without=TALK)
    words = _module(name).EXAMPLES.removeprefix("Examples:").split("·")
    lines += ["", "Examples:", "", "```", *(word.strip() for word in words), "```"]
    same = [alias for alias in HIDDEN if VERBS[alias] == VERBS[name] and alias != name]
    if same:
        lines += ["", f"Also called: {', '.join(f'`theta {alias}`' for alias in same)}."]
    if name in negatives():
        lines += ["", f"Exits with 1 if {_text(negatives()[name])}."]
    return "\n".join([*lines, ""])


def _options(heading: str, group: typer.core.TyperGroup) -> str:
    lines = _records(group, typer.Context(group, info_name="theta"))
    return "\n".join([heading, "", *lines, ""])


def _records(
    command: typer.core.TyperCommand, context: typer.Context, *, without: Set[str] = frozenset()
) -> Iterator[str]:
    for param in command.params:
        record = param.get_help_record(context)
        if record is not None and param.name not in without:
            left, right = record
            told = "repeatable" in right or "several" in right
            more = " Repeatable." if getattr(param, "multiple", False) and not told else ""
            yield f"- `{left.replace('list[str]', 'str')}`: {_text(right)}{more}"


def _text(text: str) -> str:
    """Return help text as Markdown that shows the same characters."""
    parts = re.split(r"``(.*?)``", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\*_<\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _exit_codes() -> str:
    rows = [(0, "done; also when the reader of a pipe has gone", "")]
    rows += [(EXIT_BUG, "a bug in theta, with a traceback", "`bug`")]
    rows += [(EXIT_INTERRUPTED, "interrupted", "`interrupted`")]
    kinds: dict[int, list[str]] = {}
    for error in errors():
        kinds.setdefault(error.exit_code, []).append(f"`{error.kind}`")
    for code, names in kinds.items():
        rows.append((code, _meaning(code), ", ".join(names)))
    lines = [f"| {code} | {what} | {names} |" for code, what, names in sorted(rows)]
    return "\n".join([EXIT_HEAD, "| code | when | kinds |", "|---|---|---|", *lines, ""])


def errors() -> list[type[ThetaError]]:
    """Return every error of theta below the root, a class before its subclasses."""
    found: list[type[ThetaError]] = []
    stack = [ThetaError]
    while stack:
        error = stack.pop(0)
        below = [sub for sub in error.__subclasses__() if sub.__module__.startswith("theta")]
        found += below
        stack += below
    return found


def _meaning(code: int) -> str:
    """Return the first line of the docstring of the first error with this code."""
    if code == 1:
        verbs = "; ".join(f"`{verb}`: {_text(when)}" for verb, when in negatives().items())
        return f"a negative answer ({verbs})"
    first = next(error for error in errors() if error.exit_code == code)
    text = (first.__doc__ or "").partition("\n")[0].rstrip(".")
    return text[0].lower() + text[1:]


def _json() -> str:
    lines = [f"| {where} | {', '.join(keys)} |" for where, keys in JSON_KEYS.items()]
    return "\n".join([JSON_HEAD, "| verb | keys |", "|---|---|", *lines, ""])


def _settings() -> str:
    lines = [
        f"| `{key}` | {default or 'not set'} | {SETTINGS[key]} |"
        for key, (default, _) in KNOWN.items()
    ]
    head = (
        "`theta config KEY VALUE` writes to `.theta/config.toml`, with `--global` to your own "
        "file. The repository's value wins. Other keys are refused; a file may hold them."
    )
    by_name = "by the name, see [names](#naming-things)"
    lines += [f"| `metric.NAME` | {by_name} | which way is better: `min` or `max` |"]
    table = ["| key | default | what it does |", "|---|---|---|", *lines, ""]
    return "\n".join(["## Settings", "", head, "", *table])


def _environment() -> str:
    lines = [f"| `{key}` | {what} |" for key, what in ENVIRONMENT.items()]
    return "\n".join(["## Environment", "", "| variable | what it does |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
