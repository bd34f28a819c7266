"""The entry point of the command ``theta``.

Owns the quick answer to ``--version``, before anything slow is imported, and how often this process
looks for garbage.
"""

import gc
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from theta import __version__

        sys.stdout.write(f"theta {__version__}\n")
        return
    # What is imported stays; looking for garbage every 700 objects would find none.
    gc.set_threshold(100_000)
    try:
        from theta.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the command line itself was being imported
        code = 130
    # Nothing is left to close; without this, Python would look at every object again to exit.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
