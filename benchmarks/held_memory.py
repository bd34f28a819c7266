"""Memory that a child process holds while something is measured.

A virtual machine gets a page from its host when it first touches it, which takes longer than to
hash or to compress what is put there; the host takes pages back that lie idle. Where most memory is
held, what is left goes round and round, and a measurement says something about the program.

Owns the child. Must not know what is measured.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CHILD = """
import mmap, sys
held = mmap.mmap(-1, int(sys.argv[1]))
part = b"x" * (1 << 20)
for start in range(0, len(held), len(part)):
    held[start : start + len(part)] = part
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_memory(gib: float) -> Iterator[None]:
    """Hold so many GiB, every page touched; 0 holds none."""
    size = int(gib * (1 << 30)) >> 20 << 20
    if not size:
        yield
        return
    command = [sys.executable, "-c", _CHILD, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline() != b"held\n":
            raise SystemExit(f"{gib} GiB cannot be held")
        try:
            yield
        finally:
            child.stdin.close()
