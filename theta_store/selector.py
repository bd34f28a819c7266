"""Which stored form a chunk gets: predictor × codec.

Owns the choice and the table of codecs by their numbers on disk. Must not know volumes, the index
or records. There are no predictors yet; every chunk codes itself.
"""

from dataclasses import dataclass

from theta_store.codecs import BUILTIN, Codec, Planes, Raw, Scratch, Zstd
from theta_store.dtypes import DType
from theta_store.errors import ForeignRepository, IntegrityError

WORTH = 0.98
_RAW, _ZSTD, _PLANES = Raw(), Zstd(), Planes()
_BY_NUMBER = {(codec.number, codec.version): codec for codec in BUILTIN}
_PLANED = frozenset({"float", "complex", "block", "opaque"})


@dataclass(frozen=True, slots=True)
class EncodedForm:
    """A payload and what decoding needs beside it; the payload may live in scratch."""

    number: int
    version: int
    width: int
    payload: bytes | memoryview


def choose(dtype: DType | None) -> Codec:
    """Return the codec to try first; ``dtype`` is None for the bytes of a blob."""
    if dtype is None:
        return _ZSTD
    eight_bit = dtype.kind in {"int", "uint"} and dtype.width == 1
    return _PLANES if dtype.kind in _PLANED or eight_bit else _ZSTD


def encode_chunk(plain: memoryview, *, dtype: DType | None, scratch: Scratch) -> EncodedForm:
    """Return the form of a chunk; what does not get clearly smaller is kept raw."""
    width = 1 if dtype is None else dtype.width
    codec = choose(dtype)
    payload = codec.encode(plain, width=width, scratch=scratch)
    if len(payload) >= WORTH * len(plain):
        codec, payload = _RAW, _RAW.encode(plain, width=width, scratch=scratch)
    return EncodedForm(codec.number, codec.version, width, payload)


def decode_chunk(
    number: int, version: int, width: int, payload: memoryview, out: memoryview, scratch: Scratch
) -> None:
    """Fill ``out`` with the plain bytes; an unknown codec is a `ForeignRepository`."""
    codec = _BY_NUMBER.get((number, version))
    if codec is None:
        raise ForeignRepository(
            f"a chunk is kept by codec {number}, version {version}: a newer theta is needed",
            hint="pip install --upgrade theta-vcs",
        )
    if width not in {1, 2, 4, 8}:
        raise IntegrityError(f"a chunk of words of {width} bytes cannot exist")
    codec.decode(payload, out, width=width, scratch=scratch)
