"""Codecs: plain bytes of a chunk to payload and back, one per file.

Owns the lists of the built-in ones: those that code a chunk by itself, and those that code what a
guess missed. Numbers are on disk: raw 0, zstd 1, planes 2, delta 3, bitmap 4, sorted 5.
"""

from theta_store.codecs.base import Codec, Guess, ResidualCodec
from theta_store.codecs.bitmap import Bitmap
from theta_store.codecs.delta import Delta
from theta_store.codecs.planes import Planes
from theta_store.codecs.raw import Raw
from theta_store.codecs.sorted import Sorted
from theta_store.codecs.zstd import Zstd

BUILTIN: tuple[Codec, ...] = (Raw(), Zstd(), Planes())
RESIDUAL: tuple[ResidualCodec, ...] = (Delta(), Bitmap(), Sorted())

__all__ = [
    "BUILTIN",
    "RESIDUAL",
    "Bitmap",
    "Codec",
    "Delta",
    "Guess",
    "Planes",
    "Raw",
    "ResidualCodec",
    "Sorted",
    "Zstd",
]
