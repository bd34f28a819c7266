"""The facts that belong beside every figure: command, date, machine, versions.

Owns collecting them. Must not know results.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "torch", "zstandard", "lz4", "safetensors")


def facts(arguments: list[str]) -> dict[str, str]:
    """Return what a reader needs to repeat a run."""
    return {
        "command": " ".join(["python -m benchmarks.storage_sizes", *arguments]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": _revision(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    }


def _revision() -> str:
    """Return the commit of the source, with a + where files differ from it."""
    here = Path(__file__).parent
    told = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(told, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
