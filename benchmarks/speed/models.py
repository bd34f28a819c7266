"""The models that are measured, each in three variants.

Owns their shapes, names and files. Values are those of `benchmarks/fixed_model.py`: normal with
sigma 0.02; a fine-tune moves every element by a step rounded to the dtype. Must not know what is
measured with them. The same model has the same bytes on every run.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.fixed_model import WIDTH, to_words, tuned, weights
from benchmarks.speed.operations import Variant

INDEX = "model.safetensors.index.json"
TUNED_SEED = 1_000_000
# Seconds since 1970.
WRITTEN_AT: dict[Variant, int] = {
    "first": 1_700_000_000,
    "layer": 1_700_001_000,
    "tuned": 1_700_002_000,
}


@dataclass(frozen=True)
class Model:
    """Layers of equal matrices in one file, or in shards with an index."""

    name: str
    about: str
    dtype: str
    shape: tuple[int, int]
    layers: int
    parts: tuple[str, ...] = ("weight",)
    shards: int = 1

    @property
    def names(self) -> list[str]:
        """The parameters in their order."""
        return [f"layers.{layer}.{part}" for layer in range(self.layers) for part in self.parts]

    @property
    def files(self) -> list[str]:
        """The files, the index last."""
        if self.shards == 1:
            return ["model.safetensors"]
        return [*(self._shard(number) for number in range(self.shards)), INDEX]

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return len(self.names) * self.shape[0] * self.shape[1] * WIDTH[self.dtype]

    def write(self, folders: Mapping[Variant, Path]) -> None:
        """Write the files of every variant; ``layer`` differs from ``first`` in one layer.

        Variants have different times, long ago: git keeps whole seconds, and asks again for what is
        as young as its index.
        """
        for folder in folders.values():
            folder.mkdir(parents=True)
        names = self.names
        per_shard = -(-len(names) // self.shards)
        placed: dict[str, str] = {}
        for number, file in enumerate(self.files[: self.shards]):
            numbers = range(number * per_shard, min((number + 1) * per_shard, len(names)))
            self._write([(folder / file, variant) for variant, folder in folders.items()], numbers)
            placed |= {names[i]: file for i in numbers}
        for variant, folder in folders.items():
            if self.shards > 1:
                index = {"metadata": {}, "weight_map": placed}
                (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
            for file in self.files:
                os.utime(folder / file, (WRITTEN_AT[variant],) * 2)

    def _shard(self, number: int) -> str:
        return f"model-{number + 1:05}-of-{self.shards:05}.safetensors"

    def _write(self, files: Sequence[tuple[Path, Variant]], numbers: range) -> None:
        """Write the same tensors to one file of each variant, making each only once."""
        rows, columns = self.shape
        head = self._head(numbers)
        with ExitStack() as opened:
            outs = [(opened.enter_context(path.open("wb")), variant) for path, variant in files]
            for out, _ in outs:
                out.write(head)
            for number in numbers:
                words = to_words(weights(number, rows * columns), self.dtype)
                moved = tuned(words, self.dtype, TUNED_SEED + number)
                for out, variant in outs:
                    out.write((moved if self._moves(number, variant) else words).data)

    def _moves(self, number: int, variant: Variant) -> bool:
        in_layer = number // len(self.parts) == self.layers // 2
        return variant == "tuned" or (variant == "layer" and in_layer)

    def _head(self, numbers: range) -> bytes:
        size = self.shape[0] * self.shape[1] * WIDTH[self.dtype]
        names = self.names
        header = {
            names[number]: {
                "dtype": self.dtype,
                "shape": self.shape,
                "data_offsets": [place * size, (place + 1) * size],
            }
            for place, number in enumerate(numbers)
        }
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        return len(head).to_bytes(8, "little") + head


_EXPERTS = tuple(f"experts.{number}.{part}" for number in range(250) for part in ("up", "down"))
MODELS = (
    Model("bf16", "512 MiB of bf16, one file, 32 layers", "BF16", (4096, 2048), 32),
    Model("fp32", "512 MiB of fp32, 4 shards, 32 layers", "F32", (2048, 2048), 32, shards=4),
    Model(
        "small",
        "1,000 tensors of 16 KiB, fp32, 100 layers",
        "F32",
        (64, 64),
        100,
        tuple(f"part{number}.weight" for number in range(10)),
    ),
    Model(
        "experts",
        "20,000 tensors of 8 KiB, bf16, 40 layers of 250 experts",
        "BF16",
        (64, 64),
        40,
        _EXPERTS,
    ),
)


def quick(model: Model) -> Model:
    """Return a model of the same kind that a test can afford."""
    return replace(
        model,
        about=f"a tiny model instead of {model.about}",
        shape=(16, 16),
        layers=4,
        parts=model.parts[:6],
        shards=min(model.shards, 2),
    )
