"""The prompt that asks how conflicts are to be settled.

Owns its grammar. A bare answer settles every open conflict of the file in the heading; ``avg
GLOB`` settles the matches; ``one`` goes through them singly; ``?`` explains; ``q`` quits. Must not
know how strategies work.
"""

from collections.abc import Iterable, Sequence

from theta.cli.terminal import Terminal
from theta.merge import Conflict, settles
from theta.params import match_names
from theta.strategies import STRATEGIES

ACTIONS = {
    "avg": ("average", "average", "Average parameter values."),
    "tt": ("theirs", "take_their", "Use their change to the parameter."),
    "tu": ("ours", "take_us", "Use our change to the parameter."),
}
PROMPT = "θ "
Decisions = dict[tuple[str, str | None], str]


class Quit(Exception):
    """The user wants nothing changed."""


def ask(terminal: Terminal, conflicts: Sequence[Conflict]) -> Decisions:
    """Ask until every conflict has a strategy; `Quit` when the user gives up."""
    decisions: Decisions = {}
    for path in dict.fromkeys(conflict.path for conflict in conflicts):
        left = [conflict for conflict in conflicts if conflict.path == path]
        _heading(terminal, path)
        while left:
            answer = _read(terminal)
            decisions |= _answer(terminal, answer, left)
            left = [c for c in left if (c.path, c.name) not in decisions]
            if left and answer:
                terminal.stderr.write(f"{len(left)} left: {_some(left)}\n")
    return decisions


def _heading(terminal: Terminal, path: str) -> None:
    lines = [f"Fixing Merge Conflicts in {path}", "Actions:"]
    lines += [f"  {key}) {name}: {text}" for key, (_, name, text) in ACTIONS.items()]
    lines += ["  q) quit"]
    terminal.stderr.write("\n".join(lines) + "\n")


def _read(terminal: Terminal) -> list[str]:
    terminal.stderr.write(PROMPT)
    terminal.stderr.flush()
    line = terminal.stdin.readline()
    if not line:
        raise Quit
    return line.split()


def _answer(terminal: Terminal, words: Sequence[str], left: Sequence[Conflict]) -> Decisions:
    match words:
        case []:
            return {}
        case ["q" | "quit"]:
            raise Quit
        case ["?" | "help"]:
            _explain(terminal, left)
            return {}
        case ["one"]:
            return _singly(terminal, left)
        case [action, *globs]:
            strategy = _strategy(action)
            if strategy is None:
                terminal.stderr.write(f"{action!r} is no action; ? explains\n")
                return {}
            matches = match_names(globs)
            chosen = [c for c in left if not globs or matches(c.name or "")]
            return _decide(terminal, strategy, chosen)
    return {}


def _strategy(action: str) -> str | None:
    if action in ACTIONS:
        return ACTIONS[action][0]
    for strategy, name, _ in ACTIONS.values():
        if action in {strategy, name}:
            return strategy
    return action if action in STRATEGIES.ids() else None


def _decide(terminal: Terminal, wanted: str, chosen: Iterable[Conflict]) -> Decisions:
    strategy = STRATEGIES.get(wanted)()
    decisions: Decisions = {}
    refused = []
    for conflict in chosen:
        if settles(strategy, conflict):
            decisions[conflict.path, conflict.name] = wanted
        else:
            refused.append(conflict)
    if refused:
        kinds = ", ".join(sorted({conflict.kind for conflict in refused}))
        terminal.stderr.write(f"{wanted} cannot settle {kinds}: {_some(refused)}\n")
    return decisions


def _singly(terminal: Terminal, left: Sequence[Conflict]) -> Decisions:
    decisions: Decisions = {}
    for conflict in left:
        while (conflict.path, conflict.name) not in decisions:
            terminal.stderr.write(f"{conflict.name or conflict.path} ({conflict.kind})\n")
            words = _read(terminal)
            if words == ["one"]:
                continue
            decisions |= _answer(terminal, words[:1], [conflict])
    return decisions


def _explain(terminal: Terminal, left: Sequence[Conflict]) -> None:
    lines = [
        "  ACTION         settles every open conflict of this file",
        "  ACTION GLOB…   settles the parameters that match, such as: avg *.mlp.*",
        "  one            asks for each parameter by itself",
        "  q              leaves everything as it was",
        "Open:",
        *(f"  {c.name or c.path} ({c.kind})" for c in left[:20]),
    ]
    if len(left) > 20:
        lines.append(f"  … and {len(left) - 20} more")
    terminal.stderr.write("\n".join(lines) + "\n")


def _some(conflicts: Sequence[Conflict]) -> str:
    names = [conflict.name or conflict.path for conflict in conflicts[:4]]
    return ", ".join(names) + (" …" if len(conflicts) > 4 else "")
