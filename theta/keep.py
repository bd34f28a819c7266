"""Which commits of a long history keep their files: ``keep.last(5) | keep.best("val_loss", 3)``.

Owns the policies and their reading of a history. Pure: must not know refs, the store, nor what is
done with the rest. Policies are joined by ``|``: what any of them keeps is kept.
"""

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from theta.revision import Direction, direction_of
from theta_store.errors import NotFound, UsageError
from theta_store.ids import CommitId
from theta_store.records import Commit

History = Sequence[tuple[CommitId, Commit]]
Directions = Mapping[str, Direction]


class Policy(Protocol):
    """One rule; its text is the option that means it."""

    def chosen(
        self, history: History, alive: History, directions: Directions
    ) -> Iterator[CommitId]:
        """Yield what it keeps of a history, newest first; ``alive`` are those that have files."""


class Keep(msgspec.Struct, frozen=True):
    """Policies together."""

    policies: tuple[Policy, ...]

    def __or__(self, other: "Keep") -> "Keep":
        return Keep((*self.policies, *other.policies))

    def __str__(self) -> str:
        return " ".join(map(str, self.policies))

    def check_metrics(self, known: Collection[str]) -> None:
        """Refuse a metric that no commit has, `NotFound`: its best commits would be none."""
        for policy in self.policies:
            if isinstance(policy, _Best) and policy.metric not in known:
                import difflib

                close = difflib.get_close_matches(policy.metric, known, n=1)
                raise NotFound(
                    f"no commit has the metric {policy.metric!r}; nothing was changed",
                    hint=f"did you mean {close[0]}?" if close else "theta log",
                )

    def kept(
        self, history: History, *, directions: Directions, given_up: Container[CommitId] = ()
    ) -> set[CommitId]:
        """Return the commits of a whole history, newest first, that are kept.

        Commits whose files were ``given_up`` do not count as the last or the best.
        """
        alive = [item for item in history if item[0] not in given_up]
        return {
            id_ for policy in self.policies for id_ in policy.chosen(history, alive, directions)
        }


def last(count: int) -> Keep:
    """Keep the newest commits, so many."""
    return Keep((_Last(_positive(count)),))


def best(metric: str, count: int) -> Keep:
    """Keep the commits with the best values of a metric, so many; of equals the newest."""
    return Keep((_Best(metric, _positive(count)),))


def every(count: int) -> Keep:
    """Keep the commits whose step is a multiple of ``count``.

    A commit without a step counts its place: the root is 0, a child of it 1, along first parents.
    """
    return Keep((_Every(_positive(count)),))


class _Last(msgspec.Struct, frozen=True):
    count: int

    def __str__(self) -> str:
        return f"--keep-last {self.count}"

    def chosen(
        self,
        history: History,  # noqa: ARG002 - the protocol's signature
        alive: History,
        directions: Directions,  # noqa: ARG002
    ) -> Iterator[CommitId]:
        return (id_ for id_, _ in alive[: self.count])


class _Best(msgspec.Struct, frozen=True):
    metric: str
    count: int

    def __str__(self) -> str:
        return f"--keep-best {self.metric}:{self.count}"

    def chosen(
        self,
        history: History,  # noqa: ARG002 - the protocol's signature
        alive: History,
        directions: Directions,
    ) -> Iterator[CommitId]:
        scored = [(c.metrics[self.metric], i) for i, c in alive if self.metric in c.metrics]
        numbers = [(value, id_) for value, id_ in scored if value == value]
        if not numbers:
            # A branch that does not measure it has no best ones: nothing of it is given up.
            return (id_ for id_, _ in alive)
        sign = 1 if direction_of(self.metric, directions) == "min" else -1
        numbers.sort(key=lambda pair: sign * pair[0])
        return (id_ for _, id_ in numbers[: self.count])


class _Every(msgspec.Struct, frozen=True):
    count: int

    def __str__(self) -> str:
        return f"--keep-every {self.count}"

    def chosen(
        self,
        history: History,
        alive: History,  # noqa: ARG002 - the protocol's signature
        directions: Directions,  # noqa: ARG002
    ) -> Iterator[CommitId]:
        place: dict[CommitId, int] = {}
        for id_, commit in reversed(history):
            place[id_] = place[commit.parents[0]] + 1 if commit.parents else 0
            step = place[id_] if commit.step is None else commit.step
            if step % self.count == 0:
                yield id_


def _positive(count: int) -> int:
    if count < 1:
        raise UsageError(f"{count} commits cannot be kept: a positive number is expected")
    return count
