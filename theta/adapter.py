"""A PEFT adapter: what a folder says is to be added to a model's parameters.

Owns PEFT's file names, its configuration, how it calls tensors, and which parameter of a model each
of them is about. Must not know the store, nor add anything to anything.

LoRA (Hu et al. 2021, section 4.1; PEFT's ``LoraLayer.get_delta_weight``): W + s · B A with s = α/r,
or α/√r with ``use_rslora`` (Kalajdzievski 2023). Transposed where ``fan_in_fan_out`` says that a
weight is kept as inputs × outputs, and for embeddings.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from theta.formats import HEAD_BYTES, recognise
from theta.formats.reading import FileReader, Source
from theta_store.arithmetic import is_computable, widen
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile, UnknownFile, UsageError

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SHOWN = 5
_CONFIG_BYTES = 1 << 20
_ROOT = "base_model.model."
# With or without the adapter's own name, which older versions of PEFT kept.
_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.(?!weight$)[^.]+)?(?:\.weight)?")
_PLAIN_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]+\$?")


class _Config(msgspec.Struct, frozen=True):
    """The keys of PEFT's configuration that change what is added; all others are ignored."""

    peft_type: str
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    alpha_pattern: dict[str, float] = {}
    layer_replication: list[list[int]] | None = None
    base_model_name_or_path: str | None = None


@dataclass(frozen=True)
class Factor:
    """A float32 matrix in memory, as a source of plain bytes."""

    dtype: str
    shape: tuple[int, ...]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> "Factor":
        """Return a matrix as a source."""
        return cls("F32", values.shape, np.ascontiguousarray(values, "<f4"))

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with plain bytes from ``start``."""
        out[:] = self.values.reshape(-1).view(np.uint8).data[start : start + len(out)]


@dataclass(frozen=True)
class LowRank:
    """``scale`` · B A, or its transpose, is added to a parameter: A is r × n, B is m × r."""

    inner: Source
    outer: Source
    scale: float
    transposed: bool

    @property
    def rank(self) -> int:
        """The rank r."""
        return int(self.inner.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the update."""
        inner, outer = math.prod(self.inner.shape[1:]), int(self.outer.shape[0])
        return (inner, outer) if self.transposed else (outer, inner)

    def factors(self, scale: float = 1.0) -> tuple["Factor", "Factor"]:
        """Return left (rows × r) and right (r × columns), ``scale`` times the scale in the left."""
        inner, outer = _matrix(self.inner), _matrix(self.outer)
        left, right = (inner.T, outer.T) if self.transposed else (outer, inner)
        return Factor.of(left * np.float32(self.scale * scale)), Factor.of(right)


@dataclass(frozen=True)
class Adapter:
    """What is added to parameters, and what takes the place of others, by PEFT's names for them."""

    base_model: str
    added: Mapping[str, LowRank]
    replaced: Mapping[str, Source]

    @property
    def rank(self) -> int:
        """The greatest rank of an update."""
        return max((update.rank for update in self.added.values()), default=0)

    def placed(self, names: Collection[str]) -> dict[str, str]:
        """Return the parameter of a model for each of the adapter's; all must be there.

        A checkpoint may lack the outer module that PEFT saw, or have one more.
        """
        own = [*self.added, *self.replaced]
        for move in _moves(own, names):
            found = {name: move(name) for name in own}
            if found.keys() and all(place in names for place in found.values()):
                return found
        gone = [name for name in own if name not in names]
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        raise UsageError(
            f"the adapter is for another model: there is no {', '.join(gone[:SHOWN])}{more}",
            hint=f"it was made for {self.base_model}" if self.base_model else "",
        )


@contextmanager
def open_adapter(folder: Path) -> Iterator[Adapter]:
    """Lend the adapter of a folder, whose files stay open meanwhile.

    Anything but a LoRA is a `UsageError`, a folder without one an `UnknownFile`.
    """
    config = _config(folder / CONFIG)
    with ExitStack() as stack:
        yield _adapter(config, _tensors(folder, stack))


def _config(path: Path) -> _Config:
    if not path.is_file():
        raise UnknownFile(f"{path.parent} holds no PEFT adapter: there is no {CONFIG}")
    with FileReader(path) as reader:
        data = reader.read(0, min(reader.size, _CONFIG_BYTES))
    try:
        config = msgspec.json.decode(data, type=_Config)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedFile(f"{path}: {error}") from None
    unknown = {
        f"an adapter of type {config.peft_type}": config.peft_type != "LORA",
        "DoRA": config.use_dora,
        "a LoRA with a bias of its own": config.lora_bias,
        "layer_replication": config.layer_replication is not None,
    }
    for what, is_there in unknown.items():
        if is_there:
            raise UsageError(
                f"{path}: {what} cannot be applied",
                hint="merge it with PEFT (merge_and_unload) and commit the file",
            )
    return config


def _tensors(folder: Path, stack: ExitStack) -> Mapping[str, Source]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            reader = stack.enter_context(FileReader(folder / name))
            found = recognise(reader.read(0, min(HEAD_BYTES, reader.size)), name)
            if found is None:
                raise MalformedFile(f"{folder / name} is no file of tensors")
            return found.scan(reader).tensors
    raise UnknownFile(f"{folder} holds no PEFT adapter: there is no {' or '.join(WEIGHTS)}")


def _adapter(config: _Config, tensors: Mapping[str, Source]) -> Adapter:
    halves: dict[str, dict[str, Source]] = {}
    embeddings, replaced = set(), {}
    for key, source in tensors.items():
        name = key.removeprefix(_ROOT)
        found = _FACTOR.fullmatch(name)
        if found is not None:
            module, embedding, side = found.groups()
            halves.setdefault(module, {})[side] = source
            if embedding:
                embeddings.add(module)
        elif ".lora_" in name:
            raise UsageError(f"the adapter has {key!r}, which cannot be applied")
        else:
            replaced[name.replace(".base_layer.", ".")] = source
    added = {}
    for module, half in halves.items():
        turned = module in embeddings or config.fan_in_fan_out
        added[f"{module}.weight"] = _low_rank(config, module, half, turned=turned)
    return Adapter(config.base_model_name_or_path or "", added, replaced)


def _low_rank(config: _Config, module: str, half: Mapping[str, Source], *, turned: bool) -> LowRank:
    if half.keys() != {"A", "B"}:
        raise MalformedFile(f"the adapter has only one factor for {module}")
    inner, outer = half["A"], half["B"]
    if len(inner.shape) < 2 or len(outer.shape) < 2 or inner.shape[0] != outer.shape[1]:
        raise MalformedFile(f"the adapter's factors for {module} do not fit")
    if any(not is_computable(dtype(side.dtype)) for side in (inner, outer)):
        raise UsageError(f"the adapter's factors for {module} are no floating-point numbers")
    rank = inner.shape[0]
    alpha = _alpha(config, module)
    return LowRank(inner, outer, alpha / (math.sqrt(rank) if config.use_rslora else rank), turned)


def _alpha(config: _Config, module: str) -> float:
    """Return the α of a module: that of the first pattern that is its name, or ends it."""
    for pattern, alpha in config.alpha_pattern.items():
        if not _PLAIN_PATTERN.fullmatch(pattern):
            # A stranger's regular expression may take for ever.
            raise UsageError(f"alpha_pattern {pattern!r} is no plain name of a module")
        name = pattern.removeprefix("^").removesuffix("$")
        if module == name or (not pattern.startswith("^") and module.endswith(f".{name}")):
            return alpha
    return config.lora_alpha


def _moves(own: Collection[str], names: Collection[str]) -> Iterator["_Move"]:
    yield _Move()
    first = next(iter(own), "")
    for depth in range(1, first.count(".")):
        yield _Move(drop=depth)
    for name in names:
        if name.endswith(f".{first}"):
            yield _Move(prefix=name.removesuffix(first))


@dataclass(frozen=True)
class _Move:
    """A way from PEFT's names to a checkpoint's: outer modules fewer, or more."""

    drop: int = 0
    prefix: str = ""

    def __call__(self, name: str) -> str:
        return self.prefix + name.split(".", self.drop)[-1]


def _matrix(source: Source) -> NDArray[np.float32]:
    """Return a factor as a matrix; one of a convolution has its kernel flattened."""
    row = dtype(source.dtype)
    plain = bytearray(row.size_of(tuple(source.shape)))
    source.read_into(0, memoryview(plain))
    values = widen(memoryview(plain), row).astype(np.float32)
    return values.reshape(source.shape[0], -1)
