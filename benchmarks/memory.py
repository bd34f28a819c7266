"""Peak anonymous memory of commit and restore of a large sharded model, and what resharding costs.

    python -m benchmarks.memory [--gib 5] [--folder DIR]

Generates a bf16 model in shards, commits it, deletes it, restores it, compares checksums, cuts the
same tensors into other shards and commits again; then every element moves a little (bf16 rounds
most of it away), that is committed, repacked and checked out. RssAnon is sampled every 10 ms from
/proc; the largest tensor has 32 MiB.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.watched import watch

LAYER = {"q": (4096, 2048), "k": (1024, 2048), "up": (8192, 2048), "down": (2048, 8192)}


def make_model(folder: Path, layers: int, shards: int, moved: float = 0.0) -> None:
    """Write ``layers`` layers of bf16 noise shaped like weights, cut into ``shards`` files."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [(i, kind) for i in range(layers) for kind in LAYER]
    names = [(f"layers.{i}.{kind}.weight", LAYER[kind]) for i, kind in kinds]
    weight_map = {}
    for shard in range(shards):
        mine = names[shard::shards]
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        weight_map |= {name: file for name, _ in mine}
        _write(folder / file, mine, moved)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text('{"hidden_size": 2048}\n')


def _write(path: Path, names: list[tuple[str, tuple[int, int]]], moved: float) -> None:
    header, at = {}, 0
    for name, shape in names:
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for name, shape in names:
            rng = np.random.default_rng(_seed(name))
            values = rng.standard_normal(shape, np.float32) * 0.02
            if moved:
                values += rng.standard_normal(shape, np.float32) * np.float32(moved)
            out.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def measured(*command: str, cwd: Path) -> tuple[float, int, str]:
    """Run a command; return seconds, the peak of RssAnon in bytes, and its output."""
    taken = watch(command, cwd)
    return taken.wall, taken.anonymous, taken.said


def sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def main() -> None:
    """Run the measurement and print one line per step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=arguments.folder))
    theta = str(Path(sys.executable).parent / "theta")
    per_layer = sum(2 * a * b for a, b in LAYER.values())
    layers = round(arguments.gib * (1 << 30) / per_layer)
    make_model(root, layers, 5)
    size = sum(path.stat().st_size for path in root.glob("*.safetensors"))
    before = sums(root)
    subprocess.run([theta, "init"], cwd=root, check=True)
    subprocess.run([theta, "add", "."], cwd=root, check=True)
    seconds, peak, out = measured(theta, "commit", "-m", "first", "--json", cwd=root)
    first = json.loads(out)
    _report("commit", size, seconds, peak)
    print(f"stored {first['stored_bytes'] / size:.4f} of the files")
    for name in before:
        (root / name).unlink()
    seconds, peak, _ = measured(theta, "restore", ".", cwd=root)
    _report("restore", size, seconds, peak)
    print("identical:", sums(root) == before)
    for path in root.glob("model*"):
        path.unlink()
    make_model(root, layers, 8)
    seconds, peak, out = measured(theta, "commit", "-m", "other shards", "--json", cwd=root)
    _report("commit in other shards", size, seconds, peak)
    print(f"stored {json.loads(out)['stored_bytes'] / size:.6f} more")
    _fine_tune(root, theta, layers, size)
    shutil.rmtree(root)


def _fine_tune(root: Path, theta: str, layers: int, size: int) -> None:
    make_model(root, layers, 8, moved=2e-5)
    before = sums(root)
    seconds, peak, out = measured(theta, "commit", "-m", "fine-tuned", "--json", cwd=root)
    _report("commit of a fine-tune", size, seconds, peak)
    print(f"stored {json.loads(out)['stored_bytes'] / size:.4f} more")
    seconds, peak, out = measured(theta, "repack", "--json", cwd=root)
    _report("repack", 2 * size, seconds, peak)
    done = json.loads(out)
    print(f"repacked {done['before_bytes']} to {done['after_bytes']} bytes")
    for path in root.glob("model*"):
        path.unlink()
    seconds, peak, _ = measured(theta, "restore", ".", cwd=root)
    _report("restore of the repacked fine-tune", size, seconds, peak)
    print("identical:", sums(root) == before)


def _report(what: str, size: int, seconds: float, peak: int) -> None:
    rate = size / seconds / 1e6
    print(
        f"{what}: {size / 2**30:.2f} GiB in {seconds:.1f} s ({rate:.0f} MB/s), "
        f"peak RssAnon {peak / 2**20:.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
