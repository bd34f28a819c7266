"""What a shell is told when it asks how a command line goes on.

Owns the protocol with the scripts of ``theta completion``, and which argument is completed with
what. Must not print an error, nor fail: outside a repository the answer is empty.

The script sets ``_THETA_COMPLETE=complete_SHELL`` and ``COMP_WORDS`` to what was typed. Without
``COMP_CWORD``, the number of the word to complete, that is the last one. Answers are whole words,
one a line, for zsh and fish with a tab and a meaning behind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import typer
from typer._click.core import Command, Context, Parameter
from typer._click.shell_completion import _resolve_context, _resolve_incomplete, split_arg_string

from theta.cli.candidates import (
    Candidate,
    addresses,
    branches,
    checkpoints,
    files,
    params,
    ranges,
    revisions,
    tags,
)
from theta.cli.completion import SCRIPTS
from theta.cli.terminal import Terminal
from theta.config import KNOWN
from theta.escapes import escaped
from theta.guard import GUARDS
from theta.repo import Repo
from theta.strategies import STRATEGIES

VARIABLE = "_THETA_COMPLETE"
Build = Callable[[str], typer.core.TyperGroup]


class Asked(NamedTuple):
    """What is known when a word is completed: what is typed of it, and the words before."""

    terminal: Terminal
    context: Context
    text: str

    def given(self, *names: str) -> list[str]:
        """Return the values of arguments and options that were typed before."""
        found: list[str] = []
        for name in names:
            value = self.context.params.get(name)
            found += [str(v) for v in value] if isinstance(value, list | tuple) else []
            found += [value] if isinstance(value, str) else []
        return found


Completer = Callable[[Repo, Asked], Iterable[Candidate]]


def _revision(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    return revisions(repo, asked.text)


def _range(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    return ranges(repo, asked.text)


def _address(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    return addresses(repo, asked.text)


def _branch(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    yield from branches(repo)
    if asked.given("names"):
        yield from revisions(repo, asked.text)


def _ref(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    yield from tags(repo)
    if asked.given("names"):
        yield from revisions(repo, asked.text)


def _file(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    return files(repo, *(asked.given("source")[:1] or ["HEAD"]))


def _param(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    revision = (asked.given("source", "what") or ["HEAD"])[0].partition(":")[0]
    paths = [*asked.given("paths"), *asked.terminal.after]
    return params(repo, checkpoints(repo, revision or "HEAD", paths), asked.text)


def _metric(repo: Repo, _: Asked) -> Iterator[Candidate]:
    for word, _help in revisions(repo, "best:"):
        yield Candidate(word.removeprefix("best:"))


def _metric_count(repo: Repo, asked: Asked) -> Iterator[Candidate]:
    return (Candidate(word + ":") for word, _ in _metric(repo, asked))


def _fixed(*words: str) -> Completer:
    return lambda _repo, _asked: map(Candidate, words)


COMPLETERS: Mapping[tuple[str, str], Completer] = {
    ("branch", "names"): _branch,
    ("blame", "what"): _address,
    ("cat", "what"): _address,
    ("checkout", "names"): _revision,
    ("cherry-pick", "revision"): _revision,
    ("commit", "branch"): _branch,
    ("commit", "guard"): _fixed(*GUARDS),
    ("completion", "shell"): _fixed(*SCRIPTS),
    ("config", "words"): _fixed("list", *KNOWN),
    ("diff", "params"): _param,
    ("diff", "sides"): _address,
    ("export", "what"): _address,
    ("forget", "revisions"): _revision,
    ("gc", "keep_best"): _metric_count,
    ("log", "metric"): _metric,
    ("log", "params"): _param,
    ("log", "revisions"): _range,
    ("ls", "params"): _param,
    ("ls", "what"): _address,
    ("merge", "revisions"): _revision,
    ("merge", "strategy"): _fixed(*STRATEGIES.ids()),
    ("op", "what"): _fixed("log"),
    ("reset", "revision"): _revision,
    ("restore", "params"): _param,
    ("restore", "paths"): _file,
    ("restore", "source"): _revision,
    ("revert", "revision"): _revision,
    ("rm", "paths"): _file,
    ("show", "what"): _address,
    ("stats", "what"): _fixed("add", "list", "remove"),
    ("switch", "names"): _branch,
    ("tag", "names"): _ref,
}


def complete(terminal: Terminal, build: Build, verbs: Mapping[str, bool]) -> int:
    """Print the candidates for the word at the cursor; ``verbs`` says of each if it is shown."""
    try:
        words, text = _typed(terminal.env)
        with_help = not terminal.env[VARIABLE].endswith("bash")
        for word, help_ in dict(_candidates(terminal, build, verbs, words, text)).items():
            line = " ".join(help_.split()) if with_help else ""
            # What cannot be shown cannot be offered.
            if escaped(word) == word:
                terminal.stdout.write(f"{word}\t{line}\n" if line else f"{word}\n")
        terminal.stdout.flush()
    except Exception:  # noqa: BLE001 - whatever is wrong, a prompt is no place to say so
        return 0
    return 0


def _typed(env: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the words before the one at the cursor, and what is typed of that."""
    line = env["COMP_WORDS"]
    words = split_arg_string(line)
    if "COMP_CWORD" in env:
        at = int(env["COMP_CWORD"])
        return words[1:at], words[at] if at < len(words) else ""
    if len(words) > 1 and not line[-1:].isspace():
        return words[1:-1], words[-1]
    return words[1:], ""


def _candidates(
    terminal: Terminal, build: Build, verbs: Mapping[str, bool], words: list[str], text: str
) -> Iterator[Candidate]:
    verb = _verb(words, verbs)
    if "--" in words:
        # Paths: the shell knows them best.
        return
    found = _of_verb(terminal, build, verb, words, text) if verb else _verbs(build, verbs, text)
    yield from (candidate for candidate in found if candidate.word.startswith(text))


def _verb(words: list[str], verbs: Mapping[str, bool]) -> str | None:
    before = ["", *words]
    return next(
        (word for left, word in zip(before, words, strict=False) if left != "-C" and word in verbs),
        None,
    )


def _verbs(build: Build, verbs: Mapping[str, bool], text: str) -> Iterator[Candidate]:
    if not text.startswith("-"):
        yield from (Candidate(verb) for verb, shown in verbs.items() if shown)
        return
    for option in build(next(iter(verbs))).params:
        yield from (Candidate(word, getattr(option, "help", None) or "") for word in option.opts)


def _of_verb(
    terminal: Terminal, build: Build, verb: str, words: list[str], text: str
) -> Iterator[Candidate]:
    context = _resolve_context(build(verb), {"obj": terminal}, "theta", list(words))
    asked, value = _resolve_incomplete(context, list(words), text)
    # ``--option=value`` is one word for the shell.
    left = text[: len(text) - len(value)]
    for word, help_ in _of_part(terminal, verb, context, asked, value):
        yield Candidate(left + word, help_)


def _of_part(
    terminal: Terminal, verb: str, context: Context, asked: Parameter | Command, text: str
) -> Iterator[Candidate]:
    completer = COMPLETERS.get((verb, asked.name or "")) if isinstance(asked, Parameter) else None
    if completer is None:
        for item in asked.shell_complete(context, text):
            if item.type == "plain":
                yield Candidate(str(item.value), item.help or "")
        return
    folder = context.find_root().params.get("folder")
    if folder is not None:
        terminal.cwd = (terminal.cwd / folder).resolve()
    with terminal.open() as repo:
        yield from completer(repo, Asked(terminal, context, text))
