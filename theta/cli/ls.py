"""``theta ls``."""

from typing import Annotated

import typer

from theta.cli.spelling import spell_bytes
from theta.cli.terminal import Terminal
from theta.repo import Looking
from theta_store.ids import CommitId, hex_id

EXAMPLES = "Examples:  theta ls  ·  theta ls main~1  ·  theta ls HEAD:model.pt -p '*.weight'"


def ls(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV, or REV:FILE.")] = "HEAD",
    params: Annotated[
        list[str] | None, typer.Option("-p", "--params", help="Only these parameters (globs).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """List the files of a commit, or the parameters of a checkpoint."""
    terminal: Terminal = ctx.obj
    with terminal.look() as repo:
        commit, address = repo.address(what)
        if address.file is None and address.param is None and not params:
            _files(terminal, repo, commit, json=json)
        else:
            globs = [*(params or ()), *([address.param] if address.param else [])]
            _params(terminal, repo, commit, address.file, globs, json=json)


def _files(terminal: Terminal, repo: Looking, commit: CommitId, *, json: bool) -> None:
    rows = [
        {"path": path, "kind": entry.kind, "id": hex_id(entry.id), "size": repo.file_size(entry)}
        for path, entry in sorted(repo.entries(commit).items())
    ]
    if json:
        terminal.answer("ls", {"files": rows})
        return
    for row in rows:
        terminal.out(f"{row['kind']:>10}  {spell_bytes(int(str(row['size']))):>10}  {row['path']}")


def _params(
    terminal: Terminal,
    repo: Looking,
    commit: CommitId,
    file: str | None,
    globs: list[str],
    *,
    json: bool,
) -> None:
    found = list(repo.params(commit, file, globs))
    if json:
        rows = [
            {"name": name, "dtype": t.dtype, "shape": list(t.shape), "nbytes": t.nbytes}
            for name, t in found
        ]
        terminal.answer("ls", {"params": rows})
        return
    width = max((len(name) for name, _ in found), default=0)
    for name, tensor in found:
        shape = "×".join(map(str, tensor.shape)) or "scalar"
        terminal.out(f"{name:<{width}}  {tensor.dtype:<8}  {shape}")
