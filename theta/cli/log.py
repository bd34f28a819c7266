"""``theta log``."""

from typing import Annotated

import typer

from theta.cli.graph import draw
from theta.cli.spelling import spell_id, spell_refs, spell_time
from theta.cli.terminal import Terminal
from theta.repo import Repo
from theta_store.ids import CommitId, hex_id, short
from theta_store.records import Commit

EXAMPLES = "Examples:  theta log --oneline -n 5  ·  theta log main..rte  ·  theta log --json"
LANES = ("red", "green", "yellow", "blue", "magenta", "cyan")


def log(
    ctx: typer.Context,
    revisions: Annotated[
        list[str] | None, typer.Argument(help="Revisions, or A..B: what B has and A lacks.")
    ] = None,
    count: Annotated[int | None, typer.Option("-n", help="At most so many commits.")] = None,
    oneline: Annotated[bool, typer.Option("--oneline", help="A line per commit.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="Draw branches and merges.")] = False,
    metric: Annotated[list[str] | None, typer.Option(help="Show it as a column.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show commits, the newest first."""
    terminal: Terminal = ctx.obj
    with terminal.open() as repo:
        commits = repo.log(tuple(revisions or ()), count=count)
        if json:
            terminal.answer("log", {"commits": [as_json(id_, commit) for id_, commit in commits]})
            return
        if graph:
            _print_graph(terminal, repo, dict(commits))
            return
        names = repo.names()
        for id_, commit in commits:
            refs = spell_refs(terminal, repo.head, id_, names.get(id_, []))
            if oneline or metric:
                columns = _columns(commit, metric or [])
                terminal.out(f"{spell_id(terminal, id_)}{refs} {columns}{commit.subject}")
            else:
                _print(terminal, repo, id_, commit, refs)


def _print_graph(terminal: Terminal, repo: Repo, commits: dict[CommitId, Commit]) -> None:
    names, head = repo.names(), repo.head
    edges = ((id_, tuple(p for p in c.parents if p in commits)) for id_, c in commits.items())
    for id_, row in draw(edges, lambda lane, text: terminal.paint(LANES[lane % len(LANES)], text)):
        if id_ is None:
            terminal.out(row)
            continue
        refs = spell_refs(terminal, head, id_, names.get(id_, []))
        terminal.out(f"{row} {spell_id(terminal, id_)}{refs} {commits[id_].subject}")


def as_json(id_: CommitId, commit: Commit) -> dict[str, object]:
    """Return the keys that others rely on."""
    return {
        "commit": hex_id(id_),
        "parents": [hex_id(parent) for parent in commit.parents],
        "message": commit.message,
        "author": commit.author,
        "time": commit.time / 1e6,
        "step": commit.step,
        "metrics": dict(commit.metrics),
        "meta": dict(commit.meta),
    }


def _columns(commit: Commit, metrics: list[str]) -> str:
    cells = [
        f"{commit.metrics[name]:>10.4g}" if name in commit.metrics else " " * 10 for name in metrics
    ]
    return " ".join([*cells, ""]) if cells else ""


def _print(terminal: Terminal, repo: Repo, id_: CommitId, commit: Commit, refs: str) -> None:
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
    if repo.store.is_expired(id_):
        terminal.out("Files:  given up")
    terminal.out()
    for line in commit.message.splitlines():
        terminal.out(f"    {line}")
    terminal.out()
