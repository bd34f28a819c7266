"""How many threads the linear algebra library of this process starts.

Owns one variable of the process. Must not know any verb, and must be called by the command line
only, before numpy is imported.
"""

from theta.cli.terminal import Terminal

VARIABLE = "OPENBLAS_NUM_THREADS"


def one_thread(terminal: Terminal) -> None:
    """Have OpenBLAS work in the thread that calls it, unless the user wants otherwise.

    theta's own threads each do a part of the work. OpenBLAS makes more of them when numpy is
    imported; they wait for work in a loop, a tenth of a second of a core for each command.
    """
    terminal.set_default(VARIABLE, "1")
