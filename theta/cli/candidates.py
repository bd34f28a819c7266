"""What a word may become: revisions, addresses, files and parameters of a repository.

Owns the lists, a step at a time: ``main`` → ``main:model.pt`` → ``main:model.pt::enc.`` → …; a
word that goes on ends in ``:`` or ``.``. Must not know shells. Nothing here reads a tensor.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from theta.params import split_name
from theta.repo import Repo
from theta.revision import parse_address
from theta_store.ids import CheckpointId, CommitId, ParamsId
from theta_store.records import Commit, Params, TreeEntry

COMMITS = 1000
KEYED = ("step:", "best:")


class Candidate(NamedTuple):
    """A whole word, and what it means."""

    word: str
    help: str = ""


def branches(repo: Repo) -> Iterator[Candidate]:
    """Yield the branches."""
    return _refs(repo, repo.branches())


def tags(repo: Repo) -> Iterator[Candidate]:
    """Yield the tags."""
    return _refs(repo, repo.tags())


def _refs(repo: Repo, refs: dict[str, CommitId]) -> Iterator[Candidate]:
    return (Candidate(name, repo.store.commit(id_).subject) for name, id_ in refs.items())


def revisions(repo: Repo, text: str) -> Iterator[Candidate]:
    """Yield branches, tags and HEAD; ``step:`` and ``best:`` with what HEAD's history has."""
    if text.startswith(KEYED):
        yield from _keyed(repo, text)
        return
    yield from branches(repo)
    yield from tags(repo)
    yield Candidate("HEAD", "where you are")
    if text:
        yield from (Candidate(word) for word in KEYED)


def _keyed(repo: Repo, text: str) -> Iterator[Candidate]:
    commits = [commit for _, commit in islice(repo.log(), COMMITS)]
    if text.startswith("best:"):
        names = dict.fromkeys(name for commit in commits for name in commit.metrics)
        yield from (Candidate(f"best:{name}") for name in names)
        return
    found: dict[int, Commit] = {}
    for commit in commits:
        if commit.step is not None:
            found.setdefault(commit.step, commit)
    yield from (Candidate(f"step:{step}", commit.subject) for step, commit in found.items())


def ranges(repo: Repo, text: str) -> Iterator[Candidate]:
    """Yield revisions, also behind ``A..``."""
    left, dots, right = text.rpartition("..")
    for word, help_ in revisions(repo, right):
        yield Candidate(left + dots + word, help_)


def addresses(repo: Repo, text: str) -> Iterator[Candidate]:
    """Yield the next step of ``REV:FILE::PARAM`` or ``REV::PARAM``."""
    address = parse_address(text)
    if address.param is not None:
        left = text[: len(text) - len(address.param)]
        commit = repo.resolve(address.revision or "HEAD")
        for word in params(repo, [repo.entry(commit, address.file)[1]], address.param):
            yield Candidate(left + word.word)
        return
    keyed = text.startswith(KEYED) and text.count(":") < 2
    if ":" not in text or keyed:
        found = [c for c in revisions(repo, text) if c.word.startswith(text)]
        yield from _going_on(found, text, ":", "its files")
        return
    left = text[: len(text) - len(address.file or "")]
    entries = repo.entries(repo.resolve(address.revision or "HEAD"))
    found = [Candidate(left + path, entry.kind) for path, entry in entries.items()]
    found = [candidate for candidate in found if candidate.word.startswith(text)]
    models = [candidate for candidate in found if candidate.help == "checkpoint"]
    if len(found) == len(models) == 1 or text in {candidate.word for candidate in models}:
        yield from _going_on(found, text, "::", "its parameters")
    else:
        yield from found


def _going_on(found: Sequence[Candidate], text: str, mark: str, help_: str) -> Iterator[Candidate]:
    """Yield words; the only one, and one that is typed in full, may go on with a mark."""
    for candidate in found:
        yield candidate
        if (len(found) == 1 or candidate.word == text) and candidate.word[-1:] not in ":.":
            yield Candidate(candidate.word + mark, help_)


def files(repo: Repo, revision: str) -> Iterator[Candidate]:
    """Yield the files of a commit."""
    for path, entry in repo.entries(repo.resolve(revision)).items():
        yield Candidate(path, entry.kind)


def checkpoints(repo: Repo, revision: str, paths: Sequence[str]) -> list[TreeEntry]:
    """Return the checkpoints of a commit, those at or below some paths if any are given."""
    found = {
        path: entry
        for path, entry in repo.entries(repo.resolve(revision)).items()
        if entry.kind == "checkpoint"
    }
    named = [e for p, e in found.items() if any(p == w or p.startswith(w + "/") for w in paths)]
    return named or list(found.values())


def params(repo: Repo, entries: Iterable[TreeEntry], text: str) -> Iterator[Candidate]:
    """Yield parameter names that go on from ``text`` by one component."""
    above = split_name(text)[:-1]
    seen: set[str] = set()
    for entry in entries:
        record = repo.store.checkpoint(CheckpointId(entry.id))
        words = [alias for alias in record.aliases if alias.startswith(text)]
        for node in _node(repo, record.params, above):
            for item in node.entries:
                name = ".".join([*above, item.component])
                words += [name] if item.tensor is not None else []
                words += [name + "."] if item.params is not None else []
        yield from (Candidate(word) for word in words if word not in seen)
        seen.update(words)


def _node(repo: Repo, root: ParamsId, above: Sequence[str]) -> Iterator[Params]:
    """Yield the node below these components, if there is one."""
    node: ParamsId | None = root
    for component in above:
        entries = () if node is None else repo.store.params(node).entries
        node = next((e.params for e in entries if e.component == component), None)
    if node is not None:
        yield repo.store.params(node)
