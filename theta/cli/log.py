"""``theta log``."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from theta.cli.graph import draw
from theta.cli.spelling import spell_id, spell_refs, spell_time
from theta.cli.terminal import Terminal
from theta.history import nearest
from theta_store.ids import SHORT_HEX, CommitId, hex_id, short
from theta_store.records import Commit
from theta_store.store import BRANCHES, HEAD, TAGS

if TYPE_CHECKING:
    from theta.repo import Looking

EXAMPLES = (
    "Examples:  theta log --oneline -n 5  ·  theta log main..rte  ·  theta log --all --graph  ·  "
    "theta log --metric val_loss  ·  theta log -p 'layers.3.*' -- model.pt  ·  theta log --json"
)
COLUMN = 10
LANES = ("red", "green", "yellow", "blue", "magenta", "cyan")


class Edge(NamedTuple):
    """A commit and those below it that are shown."""

    commit: Commit
    below: tuple[CommitId, ...]


def log(
    ctx: typer.Context,
    revisions: Annotated[
        list[str] | None, typer.Argument(help="Revisions, or A..B: what B has and A lacks.")
    ] = None,
    count: Annotated[int | None, typer.Option("-n", min=0, help="At most so many commits.")] = None,
    oneline: Annotated[bool, typer.Option("--oneline", help="A line per commit.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Draw branches and merges.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Of all branches and tags.")] = False,
    metric: Annotated[list[str] | None, typer.Option(help="Show it as a column.")] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("-p", "--params", help="Only commits that changed such parameters (globs)."),
    ] = None,
    recipes: Annotated[
        bool, typer.Option("--recipes", help="Say of merges how many names what settled.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show commits, the newest first; after ``--`` only those that changed these files."""
    terminal: Terminal = ctx.obj
    with terminal.look() as repo:
        given = [*(revisions or ()), *(_tips(repo) if all_ else ())]
        commits = repo.log(
            given,
            count=count,
            touching=params or (),
            paths=terminal.after,
            cwd=terminal.cwd,
        )
        if json:
            rows = [
                as_json(id_, commit) | ({"recipe": _counts(repo, commit)} if recipes else {})
                for id_, commit in commits
            ]
            terminal.answer("log", {"commits": rows})
            return
        if graph:
            cut = count is not None and not any(".." in revision for revision in given)
            edges = _edges(terminal, repo, commits, params, cut=cut)
            _print_graph(terminal, repo, edges, metric or [])
            return
        if metric:
            terminal.out(_header(metric))
        names, head, given_up = repo.names(), repo.head, repo.store.expired()
        for id_, commit in commits:
            refs = spell_refs(terminal, head, id_, names.get(id_, []))
            if metric:
                cells = _columns(commit, metric)
                terminal.out(f"{spell_id(terminal, id_)}  {cells} {refs} {commit.subject}")
            elif oneline:
                how = f" ({_recipe(repo, commit)})" if recipes and commit.recipe else ""
                terminal.out(f"{spell_id(terminal, id_)}{refs} {commit.subject}{how}")
            else:
                how = _recipe(repo, commit) if recipes else ""
                _print(terminal, id_, commit, refs, how, given_up=id_ in given_up)


def _tips(repo: "Looking") -> list[str]:
    """Return the names of all that can be reached: branches, tags, and HEAD beside them."""
    refs = [*repo.store.refs.names(BRANCHES), *repo.store.refs.names(TAGS)]
    return refs if repo.head.commit is None else [HEAD, *refs]


def _edges(
    terminal: Terminal,
    repo: "Looking",
    commits: Iterable[tuple[CommitId, Commit]],
    params: list[str] | None,
    *,
    cut: bool,
) -> dict[CommitId, Edge]:
    """Return the commits with those that a line leads to, over commits that are left out.

    Where ``cut`` says that older ones were not asked for, lines to these go on to the end.
    """
    found = dict(commits)
    if params or terminal.after:
        return {id_: Edge(c, nearest(repo.store, id_, found)) for id_, c in found.items()}
    if cut:
        return {id_: Edge(c, c.parents) for id_, c in found.items()}
    return {id_: Edge(c, tuple(p for p in c.parents if p in found)) for id_, c in found.items()}


def _print_graph(
    terminal: Terminal, repo: "Looking", commits: dict[CommitId, Edge], metrics: list[str]
) -> None:
    names, head = repo.names(), repo.head
    edges = ((id_, edge.below) for id_, edge in commits.items())
    for id_, row in draw(edges, lambda lane, text: terminal.paint(LANES[lane % len(LANES)], text)):
        if id_ is None:
            terminal.out(row)
            continue
        refs = spell_refs(terminal, head, id_, names.get(id_, []))
        commit = commits[id_].commit
        values = commit.metrics
        tail = "".join(f"  {name}={values[name]:.4g}" for name in metrics if name in values)
        terminal.out(f"{row} {spell_id(terminal, id_)}{refs} {commit.subject}{tail}")


def as_json(id_: CommitId, commit: Commit) -> dict[str, object]:
    """Return the keys that others rely on."""
    return {
        "commit": hex_id(id_),
        "parents": [hex_id(parent) for parent in commit.parents],
        "message": commit.message,
        "author": commit.author,
        "time": commit.time / 1e6,
        "step": commit.step,
        # JSON can spell neither NaN nor infinity.
        "metrics": {n: v if math.isfinite(v) else None for n, v in commit.metrics.items()},
        "meta": dict(commit.meta),
    }


def _header(metrics: list[str]) -> str:
    cells = "  ".join(f"{name:>{COLUMN}}" for name in metrics)
    return f"{'commit':<{SHORT_HEX}}  {cells}  subject"


def _columns(commit: Commit, metrics: list[str]) -> str:
    values = {name: f"{value:.4g}" for name, value in commit.metrics.items()}
    return "  ".join(f"{values.get(name, '-'):>{max(COLUMN, len(name))}}" for name in metrics)


def _counts(repo: "Looking", commit: Commit) -> dict[str, int] | None:
    """Return how many names each strategy or side settled; None where theta did not merge."""
    recipe = repo.recipe_of(commit)
    return None if recipe is None else recipe.counts()


def _recipe(repo: "Looking", commit: Commit) -> str:
    counts = _counts(repo, commit) or {}
    return ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))


def _print(
    terminal: Terminal, id_: CommitId, commit: Commit, refs: str, how: str, *, given_up: bool
) -> None:
    print_heading(terminal, id_, commit, refs)
    if how:
        terminal.out(f"Recipe: {how}")
    if given_up:
        terminal.out("Files:  given up")
    terminal.out()
    terminal.body(commit.message)
    terminal.out()


def print_heading(terminal: Terminal, id_: CommitId, commit: Commit, refs: str) -> None:
    """Print what a commit says of itself above its message."""
    terminal.out(terminal.paint("yellow", f"commit {short(id_)}") + refs)
    if len(commit.parents) > 1:
        terminal.out("Merge:  " + " ".join(short(parent) for parent in commit.parents))
    terminal.out(f"Author: {commit.author}")
    terminal.out(f"Date:   {spell_time(commit)}")
    if commit.step is not None:
        terminal.out(f"Step:   {commit.step}")
    for name, value in commit.metrics.items():
        terminal.out(f"Metric: {name} = {value:g}")
    for name, text in commit.meta.items():
        terminal.out(f"Meta:   {name} = {text}")
