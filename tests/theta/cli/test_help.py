"""Every verb explains itself: help, an example that is true, exit codes, and answers as JSON."""

import importlib
import inspect
import re
import shlex
from types import ModuleType

import pytest

from theta.cli import EXIT_BUG, EXIT_INTERRUPTED, EXITS, HIDDEN, VERBS, build, run
from theta.cli.terminal import Terminal
from theta_store.errors import ThetaError

NEGATIVE = {"cherry_pick", "commit", "compose", "diff", "fsck", "merge", "revert"}
# What these write to stdout is the file or the parameter itself.
NO_JSON = {"cat"}


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"theta.cli.{VERBS[verb]}")


def _help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def _errors() -> list[type[ThetaError]]:
    found = [ThetaError]
    for error in found:
        found += error.__subclasses__()
    return found[1:]


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_it_does_and_how_it_ends(
    capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    text = _help(capsys, verb)
    doc = inspect.getdoc(getattr(_module(verb), VERBS[verb]))
    assert doc
    assert doc[0].isupper()
    assert " ".join(doc.split()) in text
    assert text.startswith(f"Usage: theta {verb} [OPTIONS]")
    assert "Examples:" in text
    assert "theta --help" in text
    assert ("Exits with 1 if" in text) == (VERBS[verb] in NEGATIVE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    command = build(verb).commands[verb]  # type: ignore[attr-defined]
    for param in command.params:
        assert getattr(param, "help", None), f"{verb}: {param.name}"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in NO_JSON])
def test_every_verb_can_answer_as_json(verb: str) -> None:
    command = build(verb).commands[verb]  # type: ignore[attr-defined]
    assert "--json" in {option for param in command.params for option in param.opts}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in HIDDEN])
def test_examples_are_of_this_verb_and_can_be_parsed(verb: str) -> None:
    """Each example goes through the parser; an option that does not exist would stop it."""
    command = build(verb).commands[verb]  # type: ignore[attr-defined]
    examples = _module(verb).EXAMPLES.removeprefix("Examples:").split("·")
    assert len(examples) >= 2
    for example in examples:
        program, name, *words = shlex.split(example.split(" > ")[0])
        assert program == "theta"
        if name == verb:
            words = words[: words.index("--")] if "--" in words else words
            with command.make_context(name, words, obj=Terminal()):
                pass


def test_the_overview_lists_every_verb_and_every_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = _help(capsys)
    for verb in VERBS:
        assert (f" {verb} " in text) == (verb not in HIDDEN)
    told = {int(code) for code in re.findall(r"(?:^|·|:) +(\d+) ", EXITS)}
    assert " ".join(EXITS.split()) in text
    assert told == {0, EXIT_BUG, EXIT_INTERRUPTED, *(error.exit_code for error in _errors())}


def test_no_words_show_the_overview_and_are_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Commands:" in err
