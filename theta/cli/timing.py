"""Timings as people and programs read them.

Owns the table and the JSON of `Timings`. Must not know which verb they are of.
"""

from typing import TYPE_CHECKING, Any

from theta.cli.spelling import spell_bytes
from theta.cli.terminal import Terminal

if TYPE_CHECKING:
    from theta_store.timings import Timings

MEANING = {
    "read": "plain bytes from the files",
    "hash": "ids of chunks, checksums",
    "predict": "what a tensor may follow from",
    "encode": "the smallest form of each chunk",
    "put": "waiting for room in the queue to the disk",
    "sync": "payload to the volume, until it is on the disk",
    "records": "index and records",
    "publish": "the transaction that makes the commit",
    "wait": "waiting for the other threads",
    "other": "what no stage counts",
}


def print_timings(terminal: Terminal, timings: "Timings") -> None:
    """Print a line per stage; seconds are added over threads, those of the last line passed."""
    terminal.out(_line("stage", "seconds", "CPU", "bytes", "what"))
    for stage in timings.stages:
        size = spell_bytes(stage.bytes) if stage.bytes else ""
        wall, cpu = f"{stage.wall:.3f}", f"{stage.cpu:.3f}"
        terminal.out(_line(stage.name, wall, cpu, size, MEANING[stage.name]))
    terminal.out(_line("in all", f"{timings.wall:.3f}", f"{timings.cpu:.3f}", "", "as it passed"))
    if timings.loops != "C":
        terminal.out("theta was installed without a C compiler: with one it is faster")


def _line(stage: str, wall: str, cpu: str, size: str, what: str) -> str:
    return f"{stage:<8} {wall:>8} {cpu:>8} {size:>10}  {what}"


def timings_as_json(timings: "Timings") -> dict[str, Any]:
    """Return the timings as the JSON answer has them: seconds and bytes."""
    stages = [
        {"stage": s.name, "wall": s.wall, "cpu": s.cpu, "bytes": s.bytes} for s in timings.stages
    ]
    return {"wall": timings.wall, "cpu": timings.cpu, "loops": timings.loops, "stages": stages}
