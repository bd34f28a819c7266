"""Codecs: plain bytes of a chunk to payload and back, one per file.

Owns the list of the built-in ones. Numbers are on disk: raw 0, zstd 1, planes 2; 3 to 5 are
reserved for delta, bitmap and sorted.
"""

from theta_store.codecs.base import Codec, Scratch
from theta_store.codecs.planes import Planes
from theta_store.codecs.raw import Raw
from theta_store.codecs.zstd import Zstd

BUILTIN: tuple[Codec, ...] = (Raw(), Zstd(), Planes())

__all__ = ["BUILTIN", "Codec", "Planes", "Raw", "Scratch", "Zstd"]
