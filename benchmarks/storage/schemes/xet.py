"""Xet's scheme, re-implemented: content-defined chunks of a file, each once, LZ4 or raw.

Owns the chunking (a gear hash, cut where its 16 high bits are zero, at least 8 KiB, at most
128 KiB, 64 KiB on average, as xet-core cuts) and the choice per chunk of raw, LZ4 and byte groups
of four + LZ4. Xet guesses the smallest from a sample; here the smallest is taken, which favours it.
Its index, its refusal to deduplicate short runs and its gear table are not reproduced: the table
is random numbers of a fixed seed.
"""

import hashlib

import lz4.frame
import numpy as np

from benchmarks.storage.contents import Plain
from benchmarks.storage.histories import History
from benchmarks.storage.schemes.base import Cost, Measured, Scheme
from benchmarks.storage.schemes.gear import cut

GROUP = 4


def xet(history: History) -> Measured:
    """Count the compressed bytes of chunks that no earlier chunk of the history equals."""
    seen: set[bytes] = set()
    costs = []
    for step in history.steps:
        data = np.fromfile(step.path, np.uint8)
        stored = 0
        for chunk in np.split(data, cut(data)[:-1]):
            digest = hashlib.blake2b(chunk.data, digest_size=32).digest()
            if digest not in seen:
                seen.add(digest)
                stored += _compressed(chunk)
        costs.append(Cost(stored))
    return Measured(tuple(costs))


def _compressed(chunk: Plain) -> int:
    grouped = np.concatenate([chunk[place::GROUP] for place in range(GROUP)])
    candidates = (chunk, grouped)
    return min(chunk.size, *(len(lz4.frame.compress(plain.tobytes())) for plain in candidates))


XET = Scheme("Xet", "re-implementation", "CDC 64 KiB, chunk dedup, LZ4 / byte groups + LZ4", xet)
