"""What is told of the stages of some work, and the clock that nobody looks at.

Owns the protocol. Must not know what a stage does, nor how time is measured.
"""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Clock(Protocol):
    """Told what is done for which stage."""

    def run(
        self, stage: str, size: int, function: Callable[P, T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Return what the function returns; its time and ``size`` bytes count for the stage."""


class Untimed:
    """Looks at no clock."""

    def run(
        self,
        stage: str,  # noqa: ARG002 - the protocol's signature
        size: int,  # noqa: ARG002
        function: Callable[P, T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Return what the function returns."""
        return function(*args, **named)


UNTIMED: Clock = Untimed()
