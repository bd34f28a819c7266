"""What a derivation is: the claim that a tensor can be computed from others, chunk by chunk.

Owns the protocol and `Claim`. Must not know how derivations are found nor how chunks are read.
"""

from dataclasses import dataclass
from typing import Protocol

from theta_store.forms import Need


@dataclass(frozen=True, slots=True)
class Claim:
    """How one chunk may be guessed: predictor, its parameters, and what it needs, in order.

    ``computed`` says that the guess takes floating-point arithmetic.
    """

    predictor: int
    params: bytes
    needs: tuple[Need, ...]
    computed: bool = False


class Derivation(Protocol):
    """One way in which a tensor may follow from others; found once, asked for every chunk."""

    def claim(self, start: int, stop: int) -> Claim | None:
        """Return how the bytes ``start`` to ``stop``, one chunk, are guessed; None: not at all."""
