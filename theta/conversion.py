"""A checkpoint in another shape: another format, other shards, another dtype.

Owns the plan: which new files there are, which tensors go into which, what they are cast to, and
the index that names the shards. Must not read or write anything: tensors are specs here, and the
values pass through `casting` on their way.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from theta.formats import builtin_formats, format_by_id
from theta.formats.layout import Builder, Layout
from theta_store.dtypes import dtype
from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.formats.base import Format, TensorSpec
    from theta.formats.joining import Sink

CASTS = ("F64", "F32", "F16", "BF16")
SHARDED = "safetensors"
TORCH = "torch"
INDEX_SUFFIX = ".index.json"
# The formats whose files can say that two names are one tensor; elsewhere it is written twice.
TYING = frozenset({SHARDED, TORCH})


class Conversion(msgspec.Struct, frozen=True):
    """What an export changes; None leaves it as it is.

    ``format`` is a format's id, ``shard_bytes`` the most tensor bytes of one file (a larger tensor
    has a file of its own), ``dtype`` what real floating-point tensors are cast to.
    """

    format: str | None = None
    shard_bytes: int | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.format is not None:
            format_by_id(self.format)
        if self.shard_bytes is not None and self.shard_bytes < 1:
            raise UsageError("a shard has at least one byte")
        if self.dtype is not None and self.dtype not in CASTS:
            raise UsageError(
                f"tensors cannot be cast to {self.dtype}; an 8-bit float needs a scale that only "
                "its trainer knows",
                hint=f"one of {', '.join(CASTS)}",
            )

    @property
    def wanted(self) -> bool:
        """Whether anything is to be changed."""
        return self != AS_IT_IS


AS_IT_IS = Conversion()


class Model(msgspec.Struct, frozen=True):
    """What is to be written: tensors by name, tied names (name → name), and notes."""

    tensors: "Mapping[str, TensorSpec]"
    aliases: Mapping[str, str]
    notes: Mapping[str, str]


class NewFile(msgspec.Struct, frozen=True):
    """A file to write: its layout, its tensors as they will be, and the parameter of each."""

    name: str
    layout: Layout
    tensors: "Mapping[str, TensorSpec]"
    origins: Mapping[str, str]


def format_of(name: str) -> "Format | None":
    """Return the format that a file name stands for; None if its ending says nothing."""
    stem = name.lower().removesuffix(INDEX_SUFFIX)
    return next((f for f in builtin_formats() if stem.endswith(f.suffixes)), None)


def renamed(name: str, format_: "Format") -> str:
    """Return a file's name with the ending of another format; a model's index names the model."""
    stem = name.removesuffix(INDEX_SUFFIX)
    if stem.lower().endswith(format_.suffixes):
        return stem
    old = format_of(stem)
    for ending in old.suffixes if old else ():
        stem = _stem(stem, ending)
    return stem + format_.suffixes[0]


def plan_files(
    model: Model, format_: "Format", name: str, conversion: Conversion
) -> tuple[NewFile, ...]:
    """Return the files of a model: one called ``name``, or an index and shards named after it.

    The index comes first. What the format lacks is a `UsageError`.
    """
    tensors = {n: _cast(spec, conversion.dtype) for n, spec in model.tensors.items()}
    limit = conversion.shard_bytes
    if limit is not None and format_.id != SHARDED:
        raise UsageError(f"{format_.id} files cannot be shards", hint=f"--format {SHARDED}")
    name = name.removesuffix(INDEX_SUFFIX)
    shards = list(_shards(tensors, limit)) if limit is not None else [tensors]
    if len(shards) == 1:
        return (_file(model, format_, name, shards[0]),)
    names = _shard_names(name, len(shards), format_.suffixes[0])
    files = [_file(model, format_, n, part) for n, part in zip(names, shards, strict=True)]
    return _index(name, files), *files


def _cast(spec: "TensorSpec", wanted: str | None) -> "TensorSpec":
    from theta_store.arithmetic import is_computable

    if wanted is None or not is_computable(dtype(spec.dtype)):
        return spec
    return msgspec.structs.replace(spec, dtype=wanted)


def _shards(
    tensors: "Mapping[str, TensorSpec]", limit: int
) -> "Iterator[Mapping[str, TensorSpec]]":
    """Yield runs of tensors of at most ``limit`` bytes; a larger one by itself; never none."""
    shard: dict[str, TensorSpec] = {}
    room = limit
    for name, spec in tensors.items():
        if shard and spec.nbytes > room:
            yield shard
            shard, room = {}, limit
        shard[name] = spec
        room -= spec.nbytes
    yield shard


def _file(
    model: Model, format_: "Format", name: str, tensors: "Mapping[str, TensorSpec]"
) -> NewFile:
    aliases = {alias: target for alias, target in model.aliases.items() if target in tensors}
    own, origins = dict(tensors), {n: n for n in tensors}
    if format_.id not in TYING:
        own |= {a: msgspec.structs.replace(tensors[n], name=a) for a, n in aliases.items()}
        origins |= aliases
        aliases = {}
    # transformers reads only files that say whose tensors they hold.
    notes = {"format": "pt", **model.notes} if format_.id == SHARDED else {}
    layout = _layout(format_, list(own.values()), notes, aliases)
    return NewFile(name, layout, own, origins)


def _layout(
    format_: "Format",
    tensors: "Sequence[TensorSpec]",
    notes: Mapping[str, str],
    aliases: Mapping[str, str],
) -> Layout:
    if format_.id == TORCH:
        # The format itself composes nothing: a merge must not lose what is no tensor.
        from theta.formats.torch_writing import compose_torch

        return compose_torch(tensors, aliases)
    return format_.compose(tensors, metadata=notes, aliases=aliases)


def _shard_names(name: str, count: int, suffix: str) -> Iterable[str]:
    """Name shards as the Hugging Face libraries do."""
    stem = _stem(name, suffix)
    return (f"{stem}-{number:05d}-of-{count:05d}{suffix}" for number in range(1, count + 1))


def _stem(name: str, suffix: str) -> str:
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


def _index(name: str, files: Iterable[NewFile]) -> NewFile:
    """Return the index of shards; tied names stand in their shard's own notes."""
    weights = {tensor: file.name for file in files for tensor in file.tensors}
    total = sum(spec.nbytes for file in files for spec in file.tensors.values())
    text = {"metadata": {"total_size": total}, "weight_map": weights}
    builder = Builder()
    builder.literal((json.dumps(text, indent=2, sort_keys=True) + "\n").encode())
    suffix = f".{SHARDED}"
    return NewFile(_stem(name, suffix) + suffix + INDEX_SUFFIX, builder.build(), {}, {})


def casting(sink: "Sink", source: str, target: str) -> "Sink":
    """Return a sink for plain bytes of dtype ``source`` that feeds ``sink`` those of ``target``."""
    return sink if source == target else _Casting(sink, source, target)


class _Casting(msgspec.Struct, frozen=True):
    """Casts a range of whole elements as it passes."""

    sink: "Sink"
    source: str
    target: str

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``."""
        from theta_store.arithmetic import cast

        source, target = dtype(self.source), dtype(self.target)
        made = cast(plain, source, target)
        self.sink.write(start // source.nbytes * target.nbytes, made.data)
