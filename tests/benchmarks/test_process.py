"""One child process: what it took, what it said, and its end."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.speed.process import Failed, Stopped, take

SLEEP = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)


def test_time_and_words_are_returned(tmp_path: Path) -> None:
    took = take([sys.executable, "-c", "print(sum(range(3_000_000)))"], tmp_path, os.environ, 60)
    assert took.said == "4499998500000\n"
    assert took.cpu > 0
    assert took.wall > 0


def test_a_failure_says_what_it_said_last(tmp_path: Path) -> None:
    script = "import sys; print('one'); print('two'); sys.exit('three')"
    with pytest.raises(Failed, match=r"exited 1: two / three$"):
        take([sys.executable, "-c", script], tmp_path, os.environ, 60)
    script = "import sys; sys.exit('KeyError: 1\\nErrors\\nthree\\nfour\\nfive')"
    with pytest.raises(Failed, match=r"exited 1: KeyError: 1 / four / five$"):
        take([sys.executable, "-c", script], tmp_path, os.environ, 60)
    with pytest.raises(Failed, match="no-such-program"):
        take(["no-such-program"], tmp_path, os.environ, 60)


def test_what_runs_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(Stopped):
        take([sys.executable, "-c", SLEEP], tmp_path, os.environ, 0.5)
    assert time.monotonic() - start < 20
