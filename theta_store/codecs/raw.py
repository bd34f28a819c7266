"""The codec ``raw``: the payload is the plain bytes."""

from theta_store.errors import IntegrityError
from theta_store.scratch import Scratch


class Raw:
    """For bytes that nothing makes smaller."""

    id = "raw"
    number = 0
    version = 1

    def encode(self, plain: memoryview, *, width: int, scratch: Scratch) -> bytes | memoryview:  # noqa: ARG002 - the protocol's signature
        """Return the plain bytes themselves."""
        return plain

    def decode(
        self,
        payload: memoryview,
        out: memoryview,
        *,
        width: int,  # noqa: ARG002 - the protocol's signature
        scratch: Scratch,  # noqa: ARG002
    ) -> None:
        """Copy the payload."""
        if len(payload) != len(out):
            raise IntegrityError(f"{len(payload)} raw bytes where {len(out)} are expected")
        out[:] = payload
