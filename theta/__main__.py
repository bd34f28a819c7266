"""The entry point of the command ``theta``.

Owns the quick answer to ``--version``, before anything slow is imported.
"""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from theta import __version__

        sys.stdout.write(f"theta {__version__}\n")
        return
    from theta.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
