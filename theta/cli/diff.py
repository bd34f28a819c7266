"""``theta diff``."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from theta.cli.terminal import Terminal
from theta.compare import FileDifference, ParamDifference, differences, side_of_file
from theta.measure import Distance
from theta.params import match_names
from theta_store.errors import UsageError
from theta_store.store import Hashing

EXAMPLES = (
    "Examples:  theta diff  ·  theta diff main rte --stat  ·  theta diff a.pt b.pt  ·  "
    "theta diff HEAD~1 HEAD -p '*.weight' --json"
)
BAR = 32
MODULE_DEPTH = 2


@dataclass(frozen=True)
class Row:
    """A parameter that differs, measured or not."""

    param: ParamDifference
    distance: Distance | None


def diff(
    ctx: typer.Context,
    sides: Annotated[
        list[str] | None, typer.Argument(help="[A [B]]: revisions, or two files on disk.")
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Bars per module.")] = False,
    name_only: Annotated[bool, typer.Option("--name-only", help="Read no values.")] = False,
    params: Annotated[
        list[str] | None, typer.Option("-p", "--params", help="Only these parameters (globs).")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="1 if anything differs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show which parameters differ, and by how much."""
    terminal: Terminal = ctx.obj
    given = sides or []
    if len(given) > 2:
        raise UsageError("at most two sides can be compared", hint="theta diff A B")
    found = False
    answers = []
    with _opened(terminal, given) as files:
        for file in _selected(files, terminal.after, params):
            found = True
            rows = [Row(p, None if name_only else p.measure()) for p in file.params]
            if json:
                answers.append(_as_json(file, rows))
            elif stat:
                _print_bars(terminal, file, rows)
            else:
                _print(terminal, file, rows, name_only=name_only)
    if json:
        terminal.answer("diff", {"files": answers})
    if found and exit_code:
        raise typer.Exit(1)


@contextmanager
def _opened(terminal: Terminal, given: list[str]) -> Iterator[Iterator[FileDifference]]:
    paths = [terminal.cwd / side for side in given]
    if len(given) == 2 and all(path.is_file() for path in paths):
        with ExitStack() as stack:
            hashing = Hashing.alone()
            old, new = (side_of_file(stack, hashing, path) for path in paths)
            name = given[1] if given[0] == given[1] else f"{given[0]} → {given[1]}"
            yield differences({name: old}, {name: new})
        return
    with terminal.open() as repo, repo.diff(*(given or ["HEAD"])) as files:
        yield files


def _selected(
    files: Iterator[FileDifference], paths: Iterable[str], globs: list[str] | None
) -> Iterator[FileDifference]:
    wanted = {str(Path(path)) for path in paths}
    matches = match_names(globs or [])
    for file in files:
        if wanted and not any(file.path == w or file.path.startswith(w + "/") for w in wanted):
            continue
        chosen = tuple(param for param in file.params if matches(param.name))
        if chosen or not globs:
            yield FileDifference(file.path, file.change, chosen)


def _as_json(file: FileDifference, rows: list[Row]) -> dict[str, object]:
    return {"path": file.path, "change": file.change, "params": [_row(row) for row in rows]}


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
            "norm": row.distance.norm,
            "rel": row.distance.relative,
            "max_abs": row.distance.max_abs,
            "cosine": row.distance.cosine,
            "changed_fraction": row.distance.changed,
            "nan": row.distance.nan,
            "inf": row.distance.inf,
        }
    return keys


def _print(terminal: Terminal, file: FileDifference, rows: list[Row], *, name_only: bool) -> None:
    terminal.out(terminal.paint("bold", f"{file.change:>8}  {file.path}"))
    width = max((len(row.param.name) for row in rows), default=0)
    for row in rows:
        tail = "" if name_only else "  " + _describe(row)
        terminal.out(f"  {row.param.change:>8}  {row.param.name:<{width}}{tail}".rstrip())


def _describe(row: Row) -> str:
    if row.distance is None:
        shapes = [
            "–" if leaf is None else f"{leaf.dtype} {'×'.join(map(str, leaf.shape)) or 'scalar'}"
            for leaf in (row.param.before, row.param.after)
        ]
        return " → ".join(shapes)
    d = row.distance
    relative = "    –" if d.relative is None else f"{d.relative:.2e}"
    cosine = "    –" if d.cosine is None else f"{d.cosine:+.4f}"
    text = f"rel {relative}  max {d.max_abs:.2e}  cos {cosine}  changed {d.changed:6.1%}"
    return text + (f"  nan {d.nan}" if d.nan else "") + (f"  inf {d.inf}" if d.inf else "")


def _print_bars(terminal: Terminal, file: FileDifference, rows: list[Row]) -> None:
    terminal.out(terminal.paint("bold", f"{file.change:>8}  {file.path}"))
    modules: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        module = ".".join(row.param.name.split(".")[:MODULE_DEPTH][:-1] or [row.param.name])
        counts[module] += 1
        if row.distance is not None:
            modules[module] += row.distance.norm**2
    largest = max((value**0.5 for value in modules.values()), default=0.0)
    width = max((len(module) for module in counts), default=0)
    for module, count in counts.items():
        norm = modules.get(module, 0.0) ** 0.5
        bar = "█" * round(BAR * norm / largest) if largest else ""
        shown = terminal.paint("green", f"{bar:<{BAR}}")
        terminal.out(f"  {module:<{width}}  {shown}  norm {norm:.3g}  ({count} changed)")
