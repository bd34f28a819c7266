"""The axis of the model's size.

Owns a model in shards of 64 MiB, one tensor each, that are mostly holes, so that the disk is no
limit: what grows is reading, hashing and coding. Calls run in a child, whose memory is sampled.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.growing.files import CHUNK, warm, write_index, write_sparse
from benchmarks.growing.points import Point
from benchmarks.memory import measured
from benchmarks.speed.contenders.base import CALLS
from benchmarks.speed.scene import FOLDER

AXIS, COUNTS = "size", "bytes of the model"
SHARDS = (2, 8, 15, 30, 60, 120)
QUICK = (1, 2)
MIB = 64


def measure(folder: Path, places: Sequence[int]) -> Iterator[Point]:
    """Measure at so many shards."""
    for shards in places:
        root = folder / f"{shards}"
        _write(root / FOLDER, shards)
        _call(root, "init", FOLDER)
        yield _point(root, shards, "first commit", "commit", "first")
        yield _point(root, shards, "status, nothing changed", "status")
        yield _point(root, shards, "commit, nothing changed", "commit", "nothing")
        write_sparse(_shard(root / FOLDER, 0, shards), "layers.0.weight", MIB, seed=shards + 1)
        yield _point(root, shards, "commit, one shard changed", "commit", "change")
        yield _point(root, shards, "diff of that shard", "diff", "main~1", "main")


def _write(folder: Path, shards: int) -> None:
    folder.mkdir(parents=True)
    placed = {}
    for number in range(shards):
        path, name = _shard(folder, number, shards), f"layers.{number}.weight"
        write_sparse(path, name, MIB, seed=number)
        # The holes too: memory that the kernel has to find first is no part of a commit.
        warm(path)
        placed[name] = path.name
    write_index(folder / "model.safetensors.index.json", placed)


def _shard(folder: Path, number: int, shards: int) -> Path:
    return folder / f"model-{number + 1:05}-of-{shards:05}.safetensors"


def _point(root: Path, shards: int, operation: str, *words: str) -> Point:
    seconds, peak = _call(root, *words)
    return Point(AXIS, shards * MIB * CHUNK, operation, seconds, peak)


def _call(root: Path, *words: str) -> tuple[float, int]:
    _, peak, said = measured(sys.executable, str(CALLS / "theta_calls.py"), *words, cwd=root)
    return float(said.splitlines()[-1]), peak
