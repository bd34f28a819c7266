"""``theta merge --import-mergekit``: whose models a configuration of mergekit names.

Owns which revision is which model, and what of the configuration can only be checked against the
plan. Must not know mergekit's grammar.
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from theta.cli.terminal import Terminal
from theta.merge import Plan
from theta.merge.mergekit import MergekitMerge, read_mergekit
from theta.repo import Repo
from theta.terms import ABSENT
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.errors import NotFound, UsageError
from theta_store.ids import CommitId

LAYER = re.compile(r"(?:^|\.)(\d+)(?=\.|$)")


class Imported(msgspec.Struct, frozen=True):
    """A configuration whose models are known: what to merge, by which rules."""

    merge: MergekitMerge
    commits: dict[str, CommitId]
    revisions: tuple[str, ...]
    default: str
    rules: tuple[str, ...]

    def check(self, terminal: Terminal, repo: Repo, plan: Plan) -> None:
        """Refuse a plan of other sides, of another base, or of another number of layers.

        Say so where the result does not get the dtype that was asked for.
        """
        origin = self.merge.origin
        for model in self.merge.models:
            if self.commits[model] not in plan.sides:
                raise UsageError(f"{origin}: {model} is no side: others descend from it")
        self._check_base(repo, plan)
        layers = self.merge.layers
        own = _layers(plan)
        if layers is not None and own is not None and own != layers:
            raise UsageError(f"{origin}: layers 0 to {layers} are asked for, the model has {own}")
        found = _dtypes(repo, plan)
        if self.merge.dtype is not None and found - {self.merge.dtype}:
            kept = ", ".join(sorted(found))
            terminal.warn(f"{origin}: the result stays {kept}, not {self.merge.dtype}")

    def _check_base(self, repo: Repo, plan: Plan) -> None:
        model = self.merge.base
        if model is None or len(plan.sides) < 2:
            return
        trees = {repo.store.commit(base).tree for base in plan.bases}
        if trees != {repo.store.commit(self.commits[model]).tree}:
            raise UsageError(
                f"{self.merge.origin}: base_model {model} is not what the models come from",
                hint=f"theta log --graph {' '.join(self.revisions)}",
            )


def imported(repo: Repo, folder: Path, path: Path, named: Sequence[str]) -> Imported:
    """Read a configuration, from a folder; ``named`` are the words NAME=REVISION.

    A model that is not named there is the branch of its name. HEAD must be one of the models.
    """
    try:
        text = (folder / path).read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: this is no text") from None
    merge = read_mergekit(text, str(path))
    revisions = _revisions(named)
    models = dict.fromkeys((*merge.models, *([] if merge.base is None else [merge.base])))
    for model in revisions:
        if model not in models:
            raise UsageError(f"{path} has no model {model}; it has {', '.join(models)}")
    found = {model: revisions.get(model, model) for model in models}
    commits = {model: _commit(repo, str(path), model, found[model]) for model in models}
    for one, two in itertools.combinations(merge.models, 2):
        if commits[one] == commits[two]:
            raise UsageError(f"{path}: {one} and {two} are one commit")
    head = repo.head.commit
    ours = next((model for model in merge.models if commits[model] == head), None)
    if ours is None:
        raise UsageError(
            f"{path}: none of the models is HEAD: {', '.join(merge.models)}",
            hint=f"theta switch {found[merge.models[0]]}",
        )
    labels = {model: "ours" if model == ours else found[model] for model in merge.models}
    others = tuple(found[model] for model in merge.models if model != ours)
    if not others:
        raise UsageError(f"{path}: there is no model but HEAD")
    default, rules = merge.rules(labels)
    return Imported(merge, commits, others, default, rules)


def _revisions(named: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in named:
        model, equals, revision = word.rpartition("=")
        if not equals or not model or not revision:
            raise UsageError(f"--model {word}: NAME=REVISION is expected")
        found[model] = revision
    return found


def _commit(repo: Repo, origin: str, model: str, revision: str) -> CommitId:
    try:
        return repo.resolve(revision)
    except (NotFound, UsageError):
        raise NotFound(
            f"{origin}: which revision {model} is was not said",
            hint=f"theta merge --import-mergekit {origin} --model {model}=REVISION",
        ) from None


def _layers(plan: Plan) -> int | None:
    names = (name for part in plan.checkpoints for name in part.names)
    numbers = [int(found[1]) for found in map(LAYER.search, names) if found]
    return max(numbers) + 1 if numbers else None


def _dtypes(repo: Repo, plan: Plan) -> set[str]:
    """Return the dtypes of what is merged."""
    leaves = (conflict.leaves for conflict in plan.conflicts)
    sides = (side for found in leaves if found is not None for side in found.sides)
    names = {repo.store.tensor(side).dtype for side in sides if side is not ABSENT}
    return {name for name in names if is_computable(dtype(name))}
