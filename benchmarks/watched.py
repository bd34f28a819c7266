"""One child process, measured: time, CPU time, and the most anonymous memory it had.

Owns the clock and the sampling of /proc. Must not know what is run. Linux.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.01


@dataclass(frozen=True)
class Watched:
    """Seconds on the wall and of CPU, bytes of anonymous memory at the peak, and what was said."""

    wall: float
    cpu: float
    anonymous: int
    said: str


def watch(command: Sequence[str], folder: Path) -> Watched:
    """Run a command to its end; a failure ends the benchmark with what it said."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=error)
        peaks = [0]
        sampler = threading.Thread(target=_sample, args=(process.pid, peaks))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.join()
        if process.returncode:
            error.seek(0)
            told = error.read()[-400:]
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {told}")
        out.seek(0)
        return Watched(wall, usage.ru_utime + usage.ru_stime, max(peaks), out.read())


def _sample(pid: int, peaks: list[int]) -> None:
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        found = [int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")]
        if not found:  # it has ended
            return
        peaks[0] = max(peaks[0], *found)
        time.sleep(SAMPLE_SECONDS)
