"""One child process, measured; and the files that a report becomes.

Owns the clock, the accounting of CPU time (user + system, of the child and what it waited for) and
the places of results. Must not know what is run.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.storage.machine import facts

RESULTS = Path(__file__).parent / "results"
THETA = str(Path(sys.executable).parent / "theta")
PACKAGES = ("numpy", "zstandard", "blake3", "lmdb", "msgspec", "typer")


@dataclass(frozen=True)
class Spent:
    """Seconds of one run: on the wall, and of CPU."""

    wall: float
    cpu: float


def spend(command: Sequence[str], folder: Path) -> Spent:
    """Run a command in a folder, its output dropped; a failure ends the benchmark."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Spent(wall, usage.ru_utime + usage.ru_stime)


def facts_of(module: str, arguments: Iterable[str]) -> dict[str, str]:
    """Return what a reader needs to repeat a run, and how busy the machine was at its start."""
    return {
        **facts([]),
        "command": " ".join([f"python -m {module}", *arguments]),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "load at start": load(),
    }


def load() -> str:
    """Return the load averages of 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def save(name: str, text: str, values: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write a report as Markdown and its values as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def report(name: str, run: Callable[[Sequence[str]], tuple[str, Mapping[str, Any]]]) -> None:
    """Run a benchmark with the words of the command line, print what it says, and keep it.

    ``--dry`` among the words keeps nothing.
    """
    text, values = run(sys.argv[1:])
    print(text)
    if "--dry" not in sys.argv:
        save(name, text, values)


def about(title: str, told: Mapping[str, str]) -> str:
    """Return the head of a report."""
    lines = "\n".join(f"- {name}: {value}" for name, value in told.items())
    return f"# {title}\n\n{lines}\n"
