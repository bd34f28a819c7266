"""The facts that belong beside every figure of speed.

Owns collecting them: those of every benchmark, and memory, kernel and file system. Must not know
results.
"""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measured import facts_of

GIB = 1 << 30


def surroundings(module: str, arguments: Iterable[str], folder: Path) -> dict[str, str]:
    """Return what a reader needs to judge figures; ``folder`` is on the disk that is measured."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        **facts_of(module, arguments),
        "memory": f"{pages / GIB:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
    }


def _file_system(folder: Path) -> str:
    """Return the type of the mount that a folder lies on."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    place = folder.resolve()
    around = [(len(at), kind) for at, kind in mounts if place.is_relative_to(at)]
    return max(around)[1] if around else "unknown"
