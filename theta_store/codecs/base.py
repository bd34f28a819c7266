"""What a codec is.

Owns the two protocols. Must not know any particular codec, nor how a guess was made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from theta_store.dtypes import DType
from theta_store.scratch import Bytes, Scratch

if TYPE_CHECKING:
    from theta_store.codecs.exponents import Order


class Codec(Protocol):
    """Plain bytes to payload and back; ``number`` and ``version`` are on disk forever."""

    id: str
    number: int
    version: int

    def encode(self, plain: memoryview, *, width: int, scratch: Scratch) -> bytes | memoryview:
        """Return the payload; it may live in ``scratch`` until the next call."""

    def decode(self, payload: memoryview, out: memoryview, *, width: int, scratch: Scratch) -> None:
        """Fill ``out`` exactly, or raise `IntegrityError`; declared sizes are checked first."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a predictor expects of a chunk: its bytes, and what the residual may be sorted by.

    ``plain`` has the chunk's length. ``key`` are the plain bytes of another chunk of the same
    dtype and length, by whose exponents the codec ``sorted`` orders the residual; None: no key.
    ``order`` is the key's order where it is known already.
    """

    plain: Bytes
    key: Bytes | None = None
    order: "Order | None" = None


class ResidualCodec(Protocol):
    """What a guess missed, to payload and back; ``number`` and ``version`` are on disk forever."""

    id: str
    number: int
    version: int

    def encode(
        self, plain: memoryview, guess: Guess, *, dtype: DType, scratch: Scratch, head: bytes = b""
    ) -> bytes:
        """Return the payload with ``head`` in front of it."""

    def decode(
        self, payload: memoryview, guess: Guess, out: memoryview, *, width: int, scratch: Scratch
    ) -> None:
        """Fill ``out`` exactly, or raise `IntegrityError`; declared sizes are checked first."""
