"""The codec ``zstd``: one ordinary frame, for what is not floating point."""

from theta_store.codecs.frames import expand, general
from theta_store.scratch import Scratch


class Zstd:
    """For integers, masks, JSON and other bytes with repetitions."""

    id = "zstd"
    number = 1
    version = 1

    def encode(self, plain: memoryview, *, width: int, scratch: Scratch) -> bytes | memoryview:  # noqa: ARG002 - the protocol's signature
        """Return one frame that declares its size."""
        return general(plain, scratch)

    def decode(
        self,
        payload: memoryview,
        out: memoryview,
        *,
        width: int,  # noqa: ARG002 - the protocol's signature
        scratch: Scratch,
    ) -> None:
        """Expand the frame."""
        out[:] = expand(payload, len(out), scratch)
