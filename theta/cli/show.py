"""``theta show``."""

from math import prod
from typing import Annotated

import typer

from theta.cli.log import as_json, print_heading
from theta.cli.spelling import plural, spell_bytes, spell_refs
from theta.cli.storing import kept_as_json, spell_kept
from theta.cli.terminal import Terminal
from theta.repo import Looking
from theta_store.errors import UsageError
from theta_store.ids import CommitId, hex_id
from theta_store.records import Tensor

EXAMPLES = "Examples:  theta show  ·  theta show main~2  ·  theta show HEAD:model.pt::fc1.weight"


def show(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="REV, REV:FILE, or REV:FILE::PARAM.")] = "HEAD",
    storage: Annotated[
        bool, typer.Option("--storage", help="How a parameter is kept, and what that saved.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Show a commit and what it changed, or describe a file or parameter of it."""
    terminal: Terminal = ctx.obj
    with terminal.look() as repo:
        commit, address = repo.address(what)
        if address.param is not None:
            tensor = repo.tensor(commit, address.file, address.param)
            _param(terminal, repo, tensor, address.param, storage=storage, json=json)
        elif storage:
            raise UsageError(
                f"{what} names no parameter", hint="theta show REV:FILE::PARAM --storage"
            )
        elif address.file is not None:
            _file(terminal, repo, commit, address.file, json=json)
        else:
            _commit(terminal, repo, commit, json=json)


def _commit(terminal: Terminal, repo: Looking, id_: CommitId, *, json: bool) -> None:
    commit = repo.store.commit(id_)
    changes = repo.changes(id_)
    if json:
        files = [{"path": path, "change": change} for path, change in changes]
        terminal.answer("show", {**as_json(id_, commit), "files": files})
        return
    refs = spell_refs(terminal, repo.head, id_, repo.names().get(id_, []))
    print_heading(terminal, id_, commit, refs)
    terminal.out()
    terminal.body(commit.message)
    terminal.out()
    changed = {file.path: len(file.params) for file in repo.changed_files(id_)}
    for path, change in changes:
        count = changed.get(path, 0)
        tail = f"  ({plural(count, 'parameter')})" if count else ""
        terminal.out(f"{change:>9}  {path}{tail}")


def _file(terminal: Terminal, repo: Looking, id_: CommitId, file: str, *, json: bool) -> None:
    path, entry = repo.entry(id_, file)
    parts = repo.workspace.parts(path, entry)
    size = repo.file_size(entry)
    params = [t for _, t in repo.params(id_, path)] if entry.kind == "checkpoint" else None
    values = None if params is None else sum(prod(tensor.shape) for tensor in params)
    if json:
        keys = {"path": path, "kind": entry.kind, "id": hex_id(entry.id), "size": size}
        counts = {"params": None if params is None else len(params), "values": values}
        terminal.answer("show", {**keys, **counts, "files": list(parts)})
        return
    terminal.out(f"{path}: {entry.kind}, {spell_bytes(size)}, id {hex_id(entry.id)}")
    if params is not None:
        terminal.out(f"  {plural(len(params), 'parameter')} of {values:,} values")
    for part in parts[1:]:
        terminal.out(f"  {part}")


def _param(
    terminal: Terminal, repo: Looking, tensor: Tensor, name: str, *, storage: bool, json: bool
) -> None:
    kept = repo.store.kept(tensor) if storage else ()
    if json:
        keys: dict[str, object] = {"name": name, "dtype": tensor.dtype}
        keys |= {"shape": list(tensor.shape), "nbytes": tensor.nbytes}
        if storage:
            keys["storage"] = [kept_as_json(part) for part in kept]
        terminal.answer("show", keys)
        return
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    terminal.out(f"{name}: {tensor.dtype} {shape}, {spell_bytes(tensor.nbytes)}")
    for part in kept:
        terminal.out(f"  {spell_kept(part)}")
