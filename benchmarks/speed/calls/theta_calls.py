"""One call of theta's Python API: ``python theta_calls.py VERB [WORD…]``; prints its seconds.

Runs in the work tree. Owns the calls and a clock that starts after the imports.
"""

import sys
import time

import numpy  # noqa: F401, ICN001 - whoever holds a model has it

import theta

AUTHOR = theta.Author("Bench <bench@example.org>")


def commit(repo: theta.Repo, message: str) -> None:
    repo.commit(message, author=AUTHOR, details=theta.Details(allow_empty=True))


def status(repo: theta.Repo) -> None:
    repo.status()


def branch(repo: theta.Repo, name: str) -> None:
    repo.switch(name, create=True)


def switch(repo: theta.Repo, name: str) -> None:
    repo.switch(name)


def restore(repo: theta.Repo, path: str) -> None:
    repo.restore([path])


def log(repo: theta.Repo) -> None:
    for _ in repo.log():
        pass


def diff(repo: theta.Repo, old: str, new: str) -> None:
    with repo.diff(old, new) as files:
        for file in files:
            for param in file.params:
                param.measure()


def load(repo: theta.Repo, revision: str) -> None:
    """Hold every parameter of the only checkpoint in memory at once."""
    params = repo.params(repo.resolve(revision), None)
    held = repo.read_tensors(tensor for _, tensor in params)
    assert held


def init(words: list[str]) -> None:
    with theta.init(".") as repo:
        repo.add(words)


CALLS = {call.__name__: call for call in (commit, status, branch, switch, restore, log, diff, load)}


def main() -> None:
    verb, *words = sys.argv[1:]
    start = time.perf_counter()
    if verb == "init":
        init(words)
    else:
        with theta.open(".") as repo:
            CALLS[verb](repo, *words)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
