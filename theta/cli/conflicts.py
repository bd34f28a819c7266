"""The prompt that asks how conflicts are to be settled.

Owns its grammar and its answers, which are rules: what was said here can be replayed without a
terminal. Must not know how strategies work.

A bare answer settles every open conflict of the file in the heading; ``avg GLOB`` settles the
matches; ``ties density=0.2`` is any strategy with parameters; ``?`` names the rest.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from theta.cli.outcomes import module_of
from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.merge import (
    Choice,
    Conflict,
    Decision,
    Method,
    Plan,
    Rule,
    Trial,
    find_rule,
    parse_choice,
    rule_for,
)
from theta.params import match_names
from theta.repo import Repo
from theta.strategies import STRATEGIES
from theta_store.errors import UsageError

ACTIONS = {
    "avg": ("average", "average", "Average parameter values."),
    "tt": ("theirs", "take_their", "Use their change to the parameter."),
    "tu": ("ours", "take_us", "Use our change to the parameter."),
}
PROMPT = "θ "
SHOWN = 20
Score = Callable[[Path], float]
# So many parameters are computed for one preview.
TRIED = 8


class Quit(Exception):
    """The user wants nothing changed."""


def ask(
    terminal: Terminal, repo: Repo, plan: Plan, method: Method, score: Score | None = None
) -> Method:
    """Ask until every conflict has a strategy; return the method with the answers as rules.

    ``score`` gives a number to the folder of a model that an answer would make. `Quit` when the
    user gives up.
    """
    return _Prompt(terminal, repo, plan, method, score).ask()


class _Prompt:
    """One conversation; ``_past`` has the methods that undo goes back to."""

    def __init__(
        self, terminal: Terminal, repo: Repo, plan: Plan, method: Method, score: Score | None
    ) -> None:
        self._score = score
        self._terminal = terminal
        self._repo = repo
        self._plan = plan
        self._method = method
        self._past: list[Method] = []
        # What an exact merge settles is not asked for, and no answer must undo it.
        self._asked = {conflict.key for conflict in repo.decide_merge(plan, method).left}

    def ask(self) -> Method:
        path = None
        while left := self._open():
            here = [conflict for conflict in left if conflict.path == left[0].path]
            if left[0].path != path:
                path = left[0].path
                self._heading(path, here)
            words = self._read()
            self._answer(words, here)
            still = [conflict for conflict in self._open() if conflict.path == path]
            if still and words:
                self._say(f"{len(still)} left: {_some(still)}")
        return self._method

    def _open(self) -> list[Conflict]:
        left = self._repo.decide_merge(self._plan, self._method, look=False).left
        return [conflict for conflict in left if conflict.key in self._asked]

    # Talking ------------------------------------------------------------------------------

    def _say(self, *lines: str) -> None:
        self._terminal.say(*lines)

    def _heading(self, path: str, here: Sequence[Conflict]) -> None:
        """Say what is open in a file, and which actions settle some of it."""
        firsts = {conflict.kind: conflict for conflict in reversed(here)}.values()
        lines = [
            f"  {key}) {name}: {text}"
            for key, (id_, name, text) in ACTIONS.items()
            if any(self._fits(id_, conflict) for conflict in firsts)
        ]
        self._say(f"Fixing Merge Conflicts in {path}", "Actions:", *lines, "  q) quit")
        self._say(f"{plural(len(here), 'conflict')}: {_some(here)} (? explains)")

    def _read(self) -> list[str]:
        self._terminal.stderr.write(PROMPT)
        self._terminal.stderr.flush()
        line = self._terminal.stdin.readline()
        if not line:
            raise Quit
        return line.split()

    def _answer(self, words: Sequence[str], here: Sequence[Conflict]) -> None:
        match words:
            case []:
                return
            case ["q" | "quit"]:
                raise Quit
            case ["?" | "help"]:
                self._explain(here)
            case ["groups"]:
                self._say(*_groups(here))
            case ["offer"]:
                self._say(*self._offers(here))
            case ["rules"]:
                self._say(*map(str, self._method.rules))
            case ["undo"]:
                self._undo()
            case ["one"]:
                self._singly(here)
            case ["try", *rest] if rest:
                self._tell_error(lambda: self._try(rest, here))
            case _:
                self._tell_error(lambda: self._settle(words, here))

    def _tell_error(self, work: Callable[[], None]) -> None:
        try:
            work()
        except UsageError as error:
            self._say(f"{error.message}; ? explains")

    # Answers ------------------------------------------------------------------------------

    def _settle(self, words: Sequence[str], here: Sequence[Conflict]) -> None:
        choice, globs = _choice(words)
        chosen = _matching(here, globs)
        fit, refused = self._tried(choice, chosen)
        if fit:
            settled = [decision.conflict for decision in fit]
            rules = self._rules(choice, globs, settled, refused)
            self._past.append(self._method)
            self._method = replace(self._method, rules=rules)
        if refused:
            why = "; ".join(sorted({conflict.why for conflict in refused}))
            self._say(f"{why}: {_some(refused)}")
        if not chosen:
            self._say("no open conflict matches")

    def _tried(
        self, choice: Choice, chosen: Iterable[Conflict]
    ) -> tuple[Sequence[Decision], Sequence[Conflict]]:
        """Return the decisions for what a choice settles, and what it cannot settle."""
        chosen = list(chosen)
        plan, method = replace(self._plan, conflicts=chosen), self._method_with(choice, chosen)
        found = self._repo.decide_merge(plan, method, look=False)
        return found.decisions, found.left

    def _method_with(self, choice: Choice, chosen: Iterable[Conflict]) -> Method:
        rules = (rule_for(conflict.path, conflict.name, choice) for conflict in chosen)
        return replace(self._method, rules=(*self._method.rules, *rules))

    def _rules(
        self,
        choice: Choice,
        globs: Sequence[str],
        settled: Sequence[Conflict],
        refused: Sequence[Conflict],
    ) -> tuple[Rule, ...]:
        """Return the rules with an answer: as it was typed where that says the same.

        Answers settle what is open, so the globs of a later one stand before all there was. Where
        an older rule would win, each name gets a rule of its own, at the end.
        """
        old = self._method.rules
        path = rule_for(settled[0].path, None, choice).file
        short = (*(Rule(path, glob, choice) for glob in globs or ("*",)), *old)
        keys = {conflict.key for conflict in settled}
        free = {conflict.key for conflict in refused}
        for conflict in self._plan.conflicts:
            before, after = (
                find_rule(rules, conflict.path, *conflict.names) for rules in (old, short)
            )
            wanted = choice if conflict.key in keys else before and before.choice
            if conflict.key not in free and (after and after.choice) != wanted:
                names = (rule_for(c.path, c.name, choice) for c in settled)
                return (*old, *names)
        return short

    def _undo(self) -> None:
        if not self._past:
            self._say("nothing was answered yet")
            return
        self._method = self._past.pop()

    def _singly(self, here: Sequence[Conflict]) -> None:
        for conflict in here:
            while conflict.key in {each.key for each in self._open()}:
                self._say(f"{conflict.name or conflict.path} ({conflict.kind})")
                words = self._read()
                if words != ["one"]:
                    self._answer(words, [conflict])

    # Looking ------------------------------------------------------------------------------

    def _try(self, words: Sequence[str], here: Sequence[Conflict]) -> None:
        choice, globs = _choice(words)
        chosen = _matching(here, globs)
        fit, refused = self._tried(choice, chosen[:TRIED])
        for decision in fit:
            self._say(self._previewed(decision))
        for conflict in refused:
            self._say(f"  {conflict.name or conflict.path}: {conflict.why}")
        if len(chosen) > TRIED:
            self._say(f"  … and {len(chosen) - TRIED} more")
        if self._score is not None and chosen:
            self._say(self._scored(self._score, self._method_with(choice, chosen)))

    def _scored(self, score: Score, method: Method) -> str:
        """Return what the model would score with an answer after which nothing is open."""
        (tried,) = self._repo.search_merge(self._plan, [Trial({}, method)], score)
        if tried.score is None:
            left = plural(len(tried.conflicts), "conflict")
            return f"  no score: {left} would be left, answer those first"
        return f"  score {tried.score:g}"

    def _previewed(self, decision: Decision) -> str:
        name = decision.conflict.name or decision.conflict.path
        found = self._repo.preview_merge(self._plan, decision, self._method)
        if found is None:
            return f"  {name}: {decision.strategy.id}, no numbers to compare"
        sides = (f"{s.label} norm {s.norm:.4g} cosine {s.cosine:.3f}" for s in found.sides)
        return f"  {name}: norm {found.norm:.4g}; {'; '.join(sides)}"

    def _offers(self, here: Sequence[Conflict]) -> list[str]:
        """Return the strategies that settle what is open, by the kinds of conflict."""
        lines = []
        for kind, count in Counter(conflict.kind for conflict in here).items():
            first = next(conflict for conflict in here if conflict.kind == kind)
            fit = [id_ for id_ in STRATEGIES.ids() if self._fits(id_, first)]
            lines.append(f"  {count} {kind}: {' '.join(fit)}")
        return lines

    def _fits(self, strategy: str, conflict: Conflict) -> bool:
        if STRATEGIES.get(strategy).needs.statistics:
            return False
        try:
            return bool(self._tried(Choice(strategy), [conflict])[0])
        except UsageError:
            return False

    def _explain(self, here: Sequence[Conflict]) -> None:
        self._say(
            "  ACTION         settles every open conflict of this file",
            "  ACTION GLOB…   settles the parameters that match, such as: avg *.mlp.*",
            "  NAME p=v …     is any strategy, such as: ties density=0.2 *.mlp.*",
            "  offer          names the strategies that settle what is open",
            "  groups         counts what is open by module and kind",
            "  try ACTION …   says how long the merged change would be, and where it points;",
            "                 with --eval CMD, what the model would score",
            "  one            asks for each parameter by itself",
            "  undo           takes the last answer back",
            "  rules          shows the rules so far",
            "  q              leaves everything as it was",
            "Open:",
            *(f"  {c.name or c.path} ({c.kind})" for c in here[:SHOWN]),
            *([f"  … and {len(here) - SHOWN} more"] if len(here) > SHOWN else []),
        )


def _choice(words: Sequence[str]) -> tuple[Choice, list[str]]:
    """Return the choice that an answer names, and the globs that it is for."""
    action, *rest = words
    names = {alias: id_ for key, (id_, name, _) in ACTIONS.items() for alias in (key, name)}
    if names.get(action, action) not in STRATEGIES.ids():
        raise UsageError(f"{action!r} is no action")
    parameters = [word for word in rest if "=" in word]
    globs = [word for word in rest if "=" not in word]
    return parse_choice(" ".join([names.get(action, action), *parameters])), globs


def _matching(conflicts: Iterable[Conflict], globs: Sequence[str]) -> list[Conflict]:
    matches = match_names(globs)
    return [c for c in conflicts if not globs or any(matches(name or "") for name in c.names)]


def _groups(conflicts: Iterable[Conflict]) -> list[str]:
    """Return how many conflicts there are of each module and kind, as globs that can be typed."""
    found = Counter((_module(conflict.name), conflict.kind) for conflict in conflicts)
    return [f"  {plural(n, 'name'):>10}  {kind}  {module}" for (module, kind), n in found.items()]


def _module(name: str | None) -> str:
    return "(the file)" if name is None else module_of(name)


def _some(conflicts: Sequence[Conflict]) -> str:
    names = [conflict.name or conflict.path for conflict in conflicts[:4]]
    return ", ".join(names) + (" …" if len(conflicts) > 4 else "")
