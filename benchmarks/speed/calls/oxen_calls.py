"""One call of Oxen's Python API: ``python oxen_calls.py VERB [WORD…]``; prints its seconds.

Runs in the work tree. Owns the calls and a clock that starts after the imports.
"""

import sys
import time

from oxen import Repo, user

EMPTY = "No changes to commit"


def init() -> None:
    user.config_user("Bench", "bench@example.org")
    Repo(".").init()


def commit(path: str, message: str) -> None:
    """Oxen refuses an empty commit; finding that nothing changed is what is measured then."""
    repo = Repo(".")
    repo.add(path)
    try:
        repo.commit(message)
    except ValueError as error:
        if EMPTY not in str(error):
            raise


def branch(name: str) -> None:
    Repo(".").checkout(name, create=True)


def switch(name: str) -> None:
    Repo(".").checkout(name)


def restore(path: str) -> None:
    Repo(".").restore(path)


def log() -> None:
    Repo(".").log()


CALLS = {call.__name__: call for call in (init, commit, branch, switch, restore, log)}


def main() -> None:
    verb, *words = sys.argv[1:]
    start = time.perf_counter()
    CALLS[verb](*words)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
