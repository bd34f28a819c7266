"""``theta merge --eval CMD --search …``: the command that scores a trial, and the table of scores.

Owns running the command. Must not know how trials are merged.
"""

import math
import shlex
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from theta.cli.terminal import Terminal
from theta.merge import Method, Plan, parse_axis, trials_of
from theta.repo import Repo
from theta.repo.searching import Tried, best_of
from theta_store.errors import UsageError

PLACE = "THETA_TRIAL"
SHOWN = 300


def search(
    terminal: Terminal,
    repo: Repo,
    plan: Plan,
    method: Method,
    texts: Sequence[str],
    command: str | None,
    *,
    lower: bool,
) -> tuple[Tried, ...]:
    """Try every point of the grid; none where nothing is open. One option needs the other."""
    if not texts or command is None:
        raise UsageError(
            "--search says what to try, --eval how to score it: both are needed",
            hint="theta merge REV -s task-arithmetic --search lambda=0.1..1:5 --eval CMD",
        )
    trials = trials_of(method, [parse_axis(text) for text in texts])
    if not plan.conflicts:
        terminal.talk("Nothing is open, so there is nothing to search")
        return ()
    tried = repo.search_merge(plan, trials, scorer(terminal, command), progress=terminal.progress())
    if not terminal.json:
        _print(terminal, tried, best_of(tried, lower=lower))
    return tried


def scorer(terminal: Terminal, command: str) -> Callable[[Path], float]:
    """Return what scores the model in a folder by the user's command."""
    return partial(_score, terminal, command)


def _score(terminal: Terminal, command: str, folder: Path) -> float:
    """Run the command where the user is, for a folder; the last line it prints is the score."""
    line = command.replace("{}", shlex.quote(str(folder)))
    done = subprocess.run(  # noqa: S602 - the user's own command
        line,
        shell=True,
        cwd=terminal.cwd,
        env={**terminal.env, PLACE: str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    for printed in done.stdout.rstrip().splitlines():
        terminal.detail(printed)
    if done.returncode:
        *before, told = done.stderr.strip().splitlines() or [""]
        for printed in before:
            terminal.talk(printed)
        raise UsageError(
            f"--eval ended with {done.returncode}; nothing was written: {told[-SHOWN:]}"
        )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        score = float(last)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise UsageError(f"--eval printed {last[:SHOWN]!r} last: no number; nothing was written")
    return score


def _print(terminal: Terminal, tried: Sequence[Tried], best: Tried | None) -> None:
    names = list(tried[0].trial.values)
    widths = [max(len(name), *(len(t.trial.values[name]) for t in tried)) for name in names]
    cells = zip(names, widths, strict=True)
    terminal.out("  " + "  ".join(f"{name:>{width}}" for name, width in cells) + "  score")
    for each in tried:
        values = each.trial.values
        row = "  ".join(f"{values[n]:>{width}}" for n, width in zip(names, widths, strict=True))
        score = "conflicts" if each.score is None else f"{each.score:g}"
        terminal.out(f"{'*' if each is best else ' '} {row}  {score}")


def as_json(tried: Sequence[Tried], *, lower: bool) -> list[dict[str, object]]:
    """Return the keys of each trial that others rely on."""
    best = best_of(tried, lower=lower)
    return [
        {"values": dict(each.trial.values), "score": each.score, "best": each is best}
        for each in tried
    ]
