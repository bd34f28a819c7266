"""``theta apply``."""

import math
from pathlib import Path
from typing import Annotated

import typer

from theta.cli.spelling import plural, spell_bytes
from theta.cli.terminal import Terminal
from theta.repo.applying import Applying
from theta_store.errors import UsageError

EXAMPLES = (
    "Examples:  theta apply lora/  ·  theta apply lora/ --to model.safetensors --scale 0.5  ·  "
    "theta apply lora/ --dry-run"
)


def apply(
    ctx: typer.Context,
    adapter: Annotated[Path, typer.Argument(help="A PEFT folder with a LoRA.")],
    to: Annotated[
        str | None, typer.Option("--to", help="The checkpoint, if there are several.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Multiplies the update.")] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Add an adapter to a checkpoint of the workspace; a commit then keeps just the update."""
    terminal: Terminal = ctx.obj
    if not math.isfinite(scale):
        raise UsageError("--scale: a finite number is expected")
    with terminal.open_for(Applying) as repo:
        applied = repo.apply(
            terminal.cwd / adapter,
            to=to,
            scale=scale,
            cwd=terminal.cwd,
            dry_run=dry_run,
            progress=terminal.progress(),
        )
    if json:
        terminal.answer(
            "apply",
            {
                "file": applied.path,
                "params": list(applied.params),
                "rank": applied.rank,
                "base_model": applied.base_model or None,
                "stored_bytes": applied.stored_bytes,
                "dry_run": dry_run,
            },
        )
        return
    what = f"a LoRA of rank {applied.rank}" if applied.rank else "an adapter"
    made = f", made for {applied.base_model}" if applied.base_model else ""
    count = plural(len(applied.params), "parameter")
    if dry_run:
        terminal.out(f"would add {what}{made} to {count} of {applied.path}")
    else:
        terminal.talk(f"Added {what}{made} to {count} of {applied.path}")
        terminal.talk(f"stored {spell_bytes(applied.stored_bytes)} (theta undo takes it back)")
    for name in applied.params:
        terminal.detail(f"  {name}")
