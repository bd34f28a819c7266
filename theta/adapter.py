"""A PEFT adapter: what a folder says is to be added to a model's parameters.

Owns PEFT's file names, its configuration, how it calls tensors, and which parameter of a model each
of them is about. Must not know the store, nor add anything to anything.

LoRA (Hu et al. 2021, section 4.1; PEFT's ``LoraLayer.get_delta_weight``): W + s · B A with s = α/r,
or α/√r with ``use_rslora`` (Kalajdzievski 2023). Transposed where ``fan_in_fan_out`` says that a
weight is kept as inputs × outputs, and for embeddings.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from theta.escapes import escaped
from theta.formats import HEAD_BYTES, recognise
from theta.formats.reading import FileReader, Source
from theta_store.arithmetic import is_computable, widen
from theta_store.array_source import ArraySource
from theta_store.dtypes import dtype
from theta_store.errors import MalformedFile, UnknownFile, UsageError

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SHOWN = 5
_CONFIG_BYTES = 1 << 20
_ROOT = "base_model.model."
# With or without the adapter's own name, which older versions of PEFT kept.
_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.(?!weight$)[^.]+)?(?:\.weight)?")
MOST_RANK = 512
# A name that a stranger wrote is shown no longer than this.
SHOWN_LETTERS = 100
# More outer modules than this no checkpoint lacks.
MOST_DROPPED = 4
# Initialisations that leave the model as it is; all others take a part of it into the factors.
_INITS = frozenset({"gaussian", "eva", "orthogonal"})
_PLAIN_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]+\$?")


class _Config(msgspec.Struct, frozen=True):
    """The keys of PEFT's configuration that change what is added; all others are ignored."""

    peft_type: str
    r: int | None = None
    lora_alpha: float = 8
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    alpha_pattern: dict[str, float] = {}
    rank_pattern: dict[str, int] = {}
    layer_replication: list[list[int]] | None = None
    target_parameters: list[str] | None = None
    alora_invocation_tokens: list[int] | None = None
    init_lora_weights: bool | str | None = True
    base_model_name_or_path: str | None = None


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

    def factors(self, scale: float = 1.0) -> tuple[ArraySource, ArraySource]:
        """Return left (rows × r) and right (r × columns), ``scale`` times the scale in the left.

        What is no finite number is a `UsageError`.
        """
        inner, outer = _matrix(self.inner), _matrix(self.outer)
        left, right = (inner.T, outer.T) if self.transposed else (outer, inner)
        with np.errstate(all="ignore"):
            left, right = _balanced(left * np.float32(self.scale * scale), right)
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            raise UsageError("the adapter has NaN or infinity in it, or its scale is too large")
        return ArraySource.of(left), ArraySource.of(right)


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
            # Two updates of one parameter would be one too few.
            apart = len(set(found.values())) == len(found)
            if apart and all(place in names for place in found.values()):
                return found
        gone = [name for name in own if name not in names]
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        raise UsageError(
            f"the adapter is for another model: there is no {_some(gone)}{more}",
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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedFile(f"{path}: {error}") from None
    init = config.init_lora_weights
    unknown = {
        f"an adapter of type {shown(config.peft_type)}": config.peft_type != "LORA",
        f"a LoRA that began as {shown(str(init))}": isinstance(init, str) and init not in _INITS,
        "a LoRA that wakes at certain tokens": bool(config.alora_invocation_tokens),
        "a LoRA of parameters that are no module's": bool(config.target_parameters),
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
            if side in halves.setdefault(module, {}):
                raise UsageError(f"the file has several adapters for {shown(module)}")
            halves[module][side] = source
            if embedding:
                embeddings.add(module)
        elif ".lora_" in name:
            raise UsageError(f"the adapter has {shown(key)}, which cannot be applied")
        else:
            replaced[name.replace(".base_layer.", ".")] = source
    added = {}
    for module, half in halves.items():
        turned = module in embeddings or config.fan_in_fan_out
        added[f"{module}.weight"] = _low_rank(config, module, half, turned=turned)
    if not added and not replaced:
        raise UsageError("the adapter's file has no tensors in it")
    return Adapter(shown(config.base_model_name_or_path or ""), added, replaced)


def _low_rank(config: _Config, module: str, half: Mapping[str, Source], *, turned: bool) -> LowRank:
    name = shown(module)
    if half.keys() != {"A", "B"}:
        raise MalformedFile(f"the adapter has only one factor for {name}")
    inner, outer = half["A"], half["B"]
    # B of a convolution has a kernel of one element.
    fit = len(inner.shape) >= 2 and outer.shape[1:2] == inner.shape[:1]
    if not fit or math.prod(outer.shape[2:]) != 1:
        raise MalformedFile(f"the adapter's factors for {name} do not fit")
    if any(not is_computable(dtype(side.dtype)) for side in (inner, outer)):
        raise UsageError(f"the adapter's factors for {name} are no floating-point numbers")
    rank = inner.shape[0]
    if not 1 <= rank <= MOST_RANK:
        raise UsageError(f"the adapter's update of {name} has rank {rank}, not 1 to {MOST_RANK}")
    wanted = _rank(config, module)
    if wanted not in {None, rank}:
        raise MalformedFile(
            f"the adapter's update of {name} has rank {rank}, its {CONFIG} says {wanted}"
        )
    alpha = _alpha(config, module)
    return LowRank(inner, outer, alpha / (math.sqrt(rank) if config.use_rslora else rank), turned)


def _alpha(config: _Config, module: str) -> float:
    """Return the α of a module: that of the first pattern that is its name, or ends it."""
    for pattern, alpha in config.alpha_pattern.items():
        if not _PLAIN_PATTERN.fullmatch(pattern):
            # A stranger's regular expression may take for ever.
            raise UsageError(f"alpha_pattern {shown(pattern)} is no plain name of a module")
        if _names(pattern, module):
            return alpha
    return config.lora_alpha


def _rank(config: _Config, module: str) -> int | None:
    """Return the rank that a module shall have; None where no plain pattern can tell."""
    for pattern, rank in config.rank_pattern.items():
        if not _PLAIN_PATTERN.fullmatch(pattern):
            return None
        if _names(pattern, module):
            return rank
    return config.r


def _names(pattern: str, module: str) -> bool:
    name = pattern.removeprefix("^").removesuffix("$")
    return module == name or (not pattern.startswith("^") and module.endswith(f".{name}"))


def _moves(own: Collection[str], names: Collection[str]) -> Iterator["_Move"]:
    yield _Move()
    first = next(iter(own), "")
    for depth in range(1, min(first.count("."), MOST_DROPPED + 1)):
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


def shown(text: str) -> str:
    """Return what a stranger wrote as it may be printed: short, and without control characters."""
    return escaped(text, SHOWN_LETTERS)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:SHOWN])) or "such parameter"


def _balanced(
    left: NDArray[np.float32], right: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the same product of factors whose largest elements are alike in each component.

    The form keeps a row of the left one, and a column of the right one, relative to its largest
    element. Powers of two take nothing from what they multiply.
    """
    largest = np.abs(left).max(axis=0, initial=0), np.abs(right).max(axis=1, initial=0)
    usable = (largest[0] > 0) & (largest[1] > 0) & np.isfinite(largest[0] * largest[1])
    ratio = np.where(usable, largest[1], 1) / np.where(usable, largest[0], 1)
    step = np.exp2(np.rint(np.log2(ratio) / 2)).astype(np.float32)
    return left * step, right / step[:, None]


def _matrix(source: Source) -> NDArray[np.float32]:
    """Return a factor as a matrix; one of a convolution has its kernel flattened."""
    row = dtype(source.dtype)
    plain = bytearray(row.size_of(tuple(source.shape)))
    source.read_into(0, memoryview(plain))
    values = widen(memoryview(plain), row).astype(np.float32)
    return values.reshape(source.shape[0], -1)
