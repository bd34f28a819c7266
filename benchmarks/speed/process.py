"""One child process with a limit, measured.

Owns the clock, the accounting of CPU time and the end of what runs too long. Must not know what is
run. Linux and macOS.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LINES = 2
ERROR = re.compile(r"[\w.]*(Error|Exception): .")
WIDTH = 160


class Failed(Exception):
    """The program did not do what it was asked; the message is what it said last."""


class Stopped(Failed):
    """The program had no time left."""


@dataclass(frozen=True)
class Took:
    """Seconds on the wall and of CPU (user + system, with children), and what was said."""

    wall: float
    cpu: float
    said: str = ""


def take(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float
) -> Took:
    """Run a command; a failure raises `Failed`, more than ``limit`` seconds `Stopped`."""
    name = " ".join([Path(command[0]).name, *command[1:3]])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
                start_new_session=True,
            )
        except OSError as missing:
            raise Failed(f"{name}: {missing}") from None
        timer = threading.Timer(limit, _end, [process.pid])
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process.pid)
            raise
        finally:
            timer.cancel()
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().decode(errors="replace")
        if process.returncode:
            if process.returncode == -signal.SIGKILL and wall >= limit:
                raise Stopped(f"{name}: stopped after {limit:.0f} s")
            error.seek(0)
            told = said + error.read().decode(errors="replace")
            raise Failed(f"{name}: exited {process.returncode}: {_last(told)}")
    return Took(wall, usage.ru_utime + usage.ru_stime, said)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _last(told: str) -> str:
    """Return the last lines, after the first that names an error as Python does."""
    lines = [line.strip()[:WIDTH] for line in told.splitlines() if line.strip()]
    named = [line for line in lines[:-LINES] if ERROR.match(line)][:1]
    return " / ".join(named + lines[-LINES:])
