"""theta itself: every history committed into a real repository, and read back.

Owns driving `theta.Repo`: files copied into a workspace, commits, branches and a real merge.
Bytes are those of stored forms and records, as ``theta commit`` reports them.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from benchmarks.storage.contents import read_contents
from benchmarks.storage.histories import History, Step, embedding_alone
from benchmarks.storage.schemes.base import Cost, Measured, Scheme, Unavailable
from theta import Author, Details, Repo

AUTHOR = Author("Bench <bench@example.org>")
Tidy = Callable[[Repo, str | None], object]


def fast(history: History) -> Measured:
    """Count what every commit stores as it is made."""
    return _measure(history, lambda *_: None)


def repacked(history: History) -> Measured:
    """Count how the store grows when every commit is repacked as soon as it is made."""
    if not hasattr(Repo, "repack"):
        raise Unavailable("not there: this theta has no repack")
    return _measure(history, lambda repo, since: repo.repack(level="max", since=since))


def _measure(history: History, tidy: Tidy) -> Measured:
    with tempfile.TemporaryDirectory() as temporary:
        whole = _commit_all(history, Path(temporary) / "whole", tidy)
        alone = embedding_alone(history, Path(temporary))
        embedding = _commit_all(alone, Path(temporary) / "embedding", tidy)
    costs = [Cost(total, part) for total, part in zip(whole, embedding, strict=True)]
    return Measured(tuple(costs))


def _commit_all(history: History, folder: Path, tidy: Tidy) -> list[int]:
    """Return the bytes by which the store grows at every commit."""
    sizes = [0]
    with Repo.init(folder) as repo:
        commits: list[str] = []
        for step in history.steps:
            commits.append(_commit(repo, history, step, commits))
            tidy(repo, commits[step.parents[0]] if step.parents else None)
            sizes.append(repo.sizes().stored_bytes)
        for step, commit in zip(history.steps, commits, strict=True):
            _verify(repo, step, commit, folder)
    shutil.rmtree(folder)
    return [after - before for before, after in pairwise(sizes)]


def _commit(repo: Repo, history: History, step: Step, commits: list[str]) -> str:
    if step.parents:
        _go_to(repo, step, commits[step.parents[0]])
    if step.is_merge:
        return _merge(repo, commits[step.parents[1]])
    shutil.copyfile(step.path, repo.root / history.file)
    repo.add([history.file])
    return repo.commit(step.label, author=AUTHOR, details=Details(allow_empty=True)).id.hex()


def _go_to(repo: Repo, step: Step, parent: str) -> None:
    """Put HEAD on the step's branch, which begins at the parent if it is new."""
    if step.branch in repo.branches():
        repo.switch(step.branch)
    else:
        repo.switch(step.branch, create=True, start=parent)
    assert repo.head.commit is not None
    assert repo.head.commit.hex() == parent, f"{step.label} does not follow the tip of its branch"


def _merge(repo: Repo, other: str) -> str:
    plan = repo.plan_merge(other)
    answer = repo.merge(plan, repo.merge_method(default="average"), author=AUTHOR)
    assert answer.commit is not None, f"the merge is {answer.state}"
    return answer.commit.hex()


def _verify(repo: Repo, step: Step, commit: str, folder: Path) -> None:
    """Read a commit back: the same file, or of a merge the same tensors."""
    back = folder / f"{commit}{step.path.suffix}"
    repo.export(commit, back, path=f"model{step.path.suffix}")
    read = _tensors if step.is_merge else _sha256
    if read(back) != read(step.path):
        raise SystemExit(f"theta gave back other bytes for {step.label}, commit {commit}")
    back.unlink()


def _tensors(path: Path) -> dict[str, bytes]:
    return {name: array.plain.tobytes() for name, array in read_contents(path).tensors.items()}


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


FAST = Scheme("theta fast", "real", "what theta commit stores: forms and records", fast)
REPACKED = Scheme(
    "theta repacked", "real", "growth of the store, every commit repacked at once", repacked
)
