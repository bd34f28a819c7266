"""Three small Llama folders to merge: a base, and two fine-tunes of it.

Owns the shapes and the values: normal with sigma 0.02 in bf16; a fine-tune moves every element of
some tensors by sigma 0.002; in one file, or in shards of about the same size. Must not know who
merges them. The same bytes on every run.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fixed_model import SPREAD, Words, to_words

MOVED = 2e-3
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Llama:
    """Sizes of a model, as its configuration spells them."""

    hidden: int = 1024
    inner: int = 2816
    layers: int = 16
    heads: int = 16
    vocabulary: int = 32000
    shards: int = 1

    def config(self) -> dict[str, object]:
        """Return what ``config.json`` says."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "vocab_size": self.vocabulary,
            "torch_dtype": "bfloat16",
            "tie_word_embeddings": False,
        }

    def shapes(self) -> Iterator[tuple[str, Shape]]:
        """Yield every parameter."""
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            place = f"model.layers.{layer}"
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                yield f"{place}.self_attn.{name}.weight", (self.hidden, self.hidden)
            yield f"{place}.mlp.gate_proj.weight", (self.inner, self.hidden)
            yield f"{place}.mlp.up_proj.weight", (self.inner, self.hidden)
            yield f"{place}.mlp.down_proj.weight", (self.hidden, self.inner)
            yield f"{place}.input_layernorm.weight", (self.hidden,)
            yield f"{place}.post_attention_layernorm.weight", (self.hidden,)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.vocabulary, self.hidden)

    def write(self, folder: Path, tuned: int | None = None, share: float = 1.0) -> None:
        """Write a folder: the base, or a fine-tune of tensors that make up a share of the bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config(), indent=2) + "\n")
        files = self._files()
        total = sum(int(np.prod(shape)) for _, shape in self.shapes())
        tensors = self._tensors(tuned, share, total)
        for file, shapes in files.items():
            _write(folder / file, shapes, tensors)
        if self.shards > 1:
            places = {name: file for file, shapes in files.items() for name in shapes}
            index = json.dumps({"metadata": {"total_size": 2 * total}, "weight_map": places})
            (folder / "model.safetensors.index.json").write_text(index)

    def _files(self) -> dict[str, dict[str, Shape]]:
        """Return the shapes in each file, in order."""
        if self.shards == 1:
            return {"model.safetensors": dict(self.shapes())}
        files: dict[str, dict[str, Shape]] = {}
        total, at = sum(int(np.prod(shape)) for _, shape in self.shapes()), 0
        for name, shape in self.shapes():
            number = 1 + at * self.shards // total
            file = f"model-{number:05}-of-{self.shards:05}.safetensors"
            files.setdefault(file, {})[name] = shape
            at += int(np.prod(shape))
        return files

    def _tensors(self, tuned: int | None, share: float, elements: int) -> Iterator[Words]:
        moved = 0
        for number, (_, shape) in enumerate(self.shapes()):
            count = int(np.prod(shape))
            values = np.random.default_rng(number).standard_normal(count, np.float32)
            values *= np.float32(SPREAD)
            # The embeddings are large: a small share begins behind them.
            if tuned is not None and moved < share * elements and (share == 1.0 or number):
                step = np.random.default_rng([number, tuned]).standard_normal(count, np.float32)
                values += step * np.float32(MOVED)
                moved += count
            yield to_words(values, "BF16")


def _write(path: Path, shapes: Mapping[str, Shape], tensors: Iterator[Words]) -> None:
    """Write a safetensors file of the next tensors."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for _ in shapes:
            out.write(next(tensors).tobytes())
