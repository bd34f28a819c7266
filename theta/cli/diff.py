"""``theta diff``."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from theta.cli.conditions import CHANGES, Condition, parse_conditions
from theta.cli.spelling import plural
from theta.cli.terminal import Terminal
from theta.compare import FileDifference, ParamDifference, look_at
from theta.examination import Examined, Leaf
from theta.params import match_names
from theta_store.errors import NotARepository, UsageError

if TYPE_CHECKING:
    from theta.measure import Distance
    from theta.repo.comparing import Comparing, Comparison

EXAMPLES = (
    "Examples:  theta diff  ·  theta diff main rte --stat  ·  theta diff a.pt b.pt  ·  "
    "theta diff ../other@main runs/a  ·  theta diff HEAD~1 HEAD -p '*.weight' --json  ·  "
    "theta diff main --fail-on 'rel>0.1,nan'"
)
NEGATIVE = "something differs and --exit-code is given, or --fail-on finds what it looks for"
BAR = 32
MOST_BARS = 40


class Row(msgspec.Struct, frozen=True):
    """A parameter that differs, what is known of it, and the conditions that it meets."""

    param: ParamDifference
    examined: Examined | None
    failed: tuple[str, ...] = ()

    @property
    def distance(self) -> "Distance | None":
        """How far the values are apart."""
        return None if self.examined is None else self.examined.distance


class Wanted(msgspec.Struct, frozen=True):
    """How much is to be found out about each parameter."""

    name_only: bool
    stat: bool
    rank: bool
    conditions: tuple[Condition, ...]

    def row(self, param: ParamDifference) -> Row:
        """Look at a parameter."""
        examined = self._examined(param)
        failed = [c.text for c in self.conditions if c.holds(param.change, examined)]
        return Row(param, examined, tuple(failed))

    def _examined(self, param: ParamDifference) -> Examined | None:
        ranks = any(condition.name == "rank" for condition in self.conditions)
        if self.name_only:
            return None
        if self.stat and not ranks:
            return Examined(param.measure())
        return param.examine(rank=self.rank)


def diff(
    ctx: typer.Context,
    sides: Annotated[
        list[str] | None,
        typer.Argument(help="[A [B]]: revisions, REPO@REV, REV:FILE, files or folders."),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Bars per module.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Read no values.")] = False,
    params: Annotated[
        list[str] | None, typer.Option("-p", "--params", help="Only these parameters (globs).")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="1 if anything differs.")] = False,
    fail_on: Annotated[
        str | None, typer.Option(help="1 if a parameter meets it: 'rel>0.1,nan,max_abs>1'.")
    ] = None,
    rank: Annotated[bool, typer.Option("--rank", help="Ranks of large matrices too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show which parameters differ, by how much, and what the change is."""
    terminal: Terminal = ctx.obj
    conditions = tuple(parse_conditions(fail_on)) if fail_on is not None else ()
    wanted = Wanted(name_only, stat, rank, conditions)
    if name_only and any(condition.name not in CHANGES for condition in conditions):
        raise UsageError("--name-only reads no values that --fail-on could judge")
    found, failed, answers = False, 0, []
    with _opened(terminal, sides or []) as files:
        for file in _selected(files, params):
            found = True
            rows = look_at(file.params, wanted.row, terminal.progress(), threads=files.threads)
            failed += _say_failures(terminal, file, rows, conditions)
            if json:
                answers.append(_as_json(file, rows))
            else:
                _print(terminal, file, rows, wanted)
        for warning in files.warnings:
            terminal.warn(warning)
    if json:
        terminal.answer("diff", {"files": answers, "failed": failed})
    if (found and exit_code) or failed:
        raise typer.Exit(1)


@contextmanager
def _opened(terminal: Terminal, given: list[str]) -> "Iterator[Comparison]":
    if len(given) > 2:
        raise UsageError("at most two sides can be compared", hint="theta diff A B -- PATH")
    from theta.repo.comparing import compared

    repo = _repository(terminal, needed=len(given) < 2)
    try:
        with compared(
            repo,
            given[0] if given else "HEAD",
            given[1] if len(given) > 1 else None,
            cwd=terminal.cwd,
            paths=terminal.after,
            progress=terminal.progress(),
        ) as files:
            yield files
    finally:
        if repo is not None:
            repo.close()


def _repository(terminal: Terminal, *, needed: bool) -> "Comparing | None":
    from theta.repo.comparing import Comparing

    try:
        return terminal.open_for(Comparing)
    except NotARepository:
        if needed:
            raise
        return None


def _selected(files: "Comparison", globs: list[str] | None) -> Iterator[FileDifference]:
    matches = match_names(globs or [])
    for file in files:
        chosen = tuple(param for param in file.params if matches(param.name))
        if chosen or not globs:
            yield FileDifference(file.path, file.change, chosen, file.before, file.note)


def _say_failures(
    terminal: Terminal, file: FileDifference, rows: list[Row], conditions: tuple[Condition, ...]
) -> int:
    """Say which conditions are met, on stderr; return how many parameters and files meet one."""
    lost = [condition.text for condition in conditions if condition.holds(file.change, None)]
    for text in lost:
        terminal.talk(f"fails {text}: {file.path}")
    for row in rows:
        for text in row.failed:
            terminal.talk(f"fails {text}: {file.path}::{row.param.name}")
    unread = [row for row in rows if row.param.change == "changed" and not row.distance]
    if conditions and unread:
        terminal.warn(f"{file.path}: {plural(len(unread), 'parameter')} could not be measured")
    return bool(lost) + sum(bool(row.failed) for row in rows)


# JSON -------------------------------------------------------------------------------------


def _as_json(file: FileDifference, rows: list[Row]) -> dict[str, object]:
    return {
        "path": file.path,
        "before_path": file.before or file.path,
        "change": file.change,
        "note": file.note,
        "params": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, object]:
    before, after = row.param.before, row.param.after
    keys: dict[str, object] = {
        "name": row.param.name,
        "change": row.param.change,
        "before": None if before is None else {"dtype": before.dtype, "shape": before.shape},
        "after": None if after is None else {"dtype": after.dtype, "shape": after.shape},
    }
    if row.distance is not None:
        keys |= {
            "norm": _number(row.distance.norm),
            "rel": _number(row.distance.relative),
            "max_abs": _number(row.distance.max_abs),
            "cosine": _number(row.distance.cosine),
            "changed_fraction": row.distance.changed,
            "nan": row.distance.nan,
            "inf": row.distance.inf,
            "equal_values": row.distance.equal,
        }
    if row.examined is not None:
        found = row.examined.findings
        ranks = (finding.amount for finding in found if finding.kind == "rank")
        keys |= {
            "rank": next(ranks, None),
            "recognised": [
                {"kind": f.kind, "text": f.text, "amount": f.amount, "exact": f.exact}
                for f in found
            ],
        }
    return keys | {"failed": list(row.failed)}


def _number(value: float | None) -> float | None:
    """Return a number that JSON can spell: it knows neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


# Text -------------------------------------------------------------------------------------


def _print(terminal: Terminal, file: FileDifference, rows: list[Row], wanted: Wanted) -> None:
    path = f"{file.before} → {file.path}" if file.before else file.path
    note = f"  ({file.note})" if file.note else ""
    terminal.out(terminal.paint("bold", f"{file.change:>8}  {path}") + note)
    if wanted.stat and not wanted.name_only:
        _print_bars(terminal, rows)
        return
    width = max((len(row.param.name) for row in rows), default=0)
    for row in rows:
        tail = "" if wanted.name_only else "  " + _describe(terminal, row)
        terminal.out(f"  {row.param.change:>8}  {row.param.name:<{width}}{tail}".rstrip())


def _describe(terminal: Terminal, row: Row) -> str:
    parts = []
    if row.param.change != "changed":
        parts.append(_spell_sides(row.param.before, row.param.after))
    if row.distance is not None:
        parts.append(_spell_distance(row.distance))
    if row.examined is not None:
        parts += [terminal.paint("cyan", finding.text) for finding in row.examined.findings]
    return "  ".join(parts)


def _spell_sides(before: Leaf | None, after: Leaf | None) -> str:
    if before is None or after is None:
        return _spell_leaf(before or after)
    if before.shape == after.shape:
        return f"{before.dtype} → {after.dtype}"
    if before.dtype == after.dtype:
        return f"{before.dtype} {_spell_shape(before)} → {_spell_shape(after)}"
    return f"{_spell_leaf(before)} → {_spell_leaf(after)}"


def _spell_leaf(leaf: Leaf | None) -> str:
    return "" if leaf is None else f"{leaf.dtype} {_spell_shape(leaf)}"


def _spell_shape(leaf: Leaf) -> str:
    return "×".join(map(str, leaf.shape)) or "scalar"


def _spell_distance(d: "Distance") -> str:
    text = f"changed {d.changed:6.1%}"
    if d.norm is not None and d.relative is not None and d.max_abs is not None:
        cosine = "      –" if d.cosine is None else f"{d.cosine:+.4f}"
        text = f"rel {d.relative:.2e}  max {d.max_abs:.2e}  cos {cosine}  {text}"
    return text + (f"  nan {d.nan}" if d.nan else "") + (f"  inf {d.inf}" if d.inf else "")


def _print_bars(terminal: Terminal, rows: list[Row]) -> None:
    squares: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    module_of = _modules([row.param.name for row in rows])
    for row in rows:
        module = module_of[row.param.name]
        counts[module] += 1
        if row.distance is not None and row.distance.norm is not None:
            squares[module] += row.distance.norm**2
    largest = max((value**0.5 for value in squares.values()), default=0.0)
    width = max((len(module) for module in counts), default=0)
    for module, count in counts.items():
        norm = squares.get(module, 0.0) ** 0.5
        bar = "█" * round(BAR * norm / largest) if 0 < largest < math.inf else ""
        shown = terminal.paint("green", f"{bar:<{BAR}}")
        terminal.out(f"  {module:<{width}}  {shown}  norm {norm:.3g}  ({count} changed)")


def _modules(names: list[str]) -> dict[str, str]:
    """Return the module of each name, cut to a depth at which the bars fit on a screen."""
    steps = {name: name.split(".")[:-1] or [name] for name in names}
    for depth in range(max(map(len, steps.values()), default=1), 0, -1):
        found = {name: ".".join(path[:depth]) for name, path in steps.items()}
        if len(set(found.values())) <= MOST_BARS:
            break
    return found
