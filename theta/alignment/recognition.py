"""Which architecture a model has, told by the names and shapes of its parameters.

Owns the names that users type for architectures, and the numbers that a specification needs where
shapes give them. Must not know values, nor files.

How many heads attention has is in no shape: the caller says it. What lies around the layers of
torch's transformers has names of all kinds; what they read and add to therefore stays in place.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from theta.alignment.architectures import (
    RESIDUAL,
    llama,
    mlp,
    resnet,
    transformer_decoder,
    transformer_encoder,
)
from theta.alignment.spec import FREE, Rule, Spec
from theta_store.errors import UsageError

NUMBER = re.compile(r"[0-9]+")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Model:
    """Shapes of a model's parameters, its heads, and whether the user named the architecture."""

    shapes: Shapes
    heads: int | None
    chosen: bool

    def prefixes(self, mark: str) -> list[str]:
        """Return what stands before the names that end like this."""
        pattern = re.compile(rf"((?:.*\.)?){mark}")
        return [found[1] for found in map(pattern.fullmatch, self.shapes) if found is not None]

    def heads_of(self, width: int) -> int:
        """Return the number of heads, which divides a width."""
        if self.heads is None:
            raise UsageError("how many heads attention has is in no shape and has to be said")
        if self.heads < 1 or width % self.heads:
            raise UsageError(f"{width} elements do not divide into {self.heads} heads")
        return self.heads


# Returns None for a model of another architecture.
Find = Callable[[_Model], Spec | None]


def check_architecture(name: str) -> None:
    """Refuse a name that no architecture has."""
    if name not in ARCHITECTURES:
        raise UsageError(
            f"no architecture is called {name!r}; there are {', '.join(ARCHITECTURES)}"
        )


def recognised(
    shapes: Shapes, name: str | None = None, heads: int | None = None
) -> tuple[str, Spec]:
    """Return an architecture's name and its specification for a model of these shapes.

    Without a ``name`` the parameters' names decide. A model that does not fit, and attention
    without a number of ``heads``, is a `UsageError`.
    """
    if name is not None:
        check_architecture(name)
    model = _Model(shapes, heads, name is not None)
    for each in ARCHITECTURES if name is None else (name,):
        found = ARCHITECTURES[each](model)
        if found is not None:
            return each, found
    if name is not None:
        raise UsageError(f"the parameters are not those of the architecture {name}")
    raise UsageError(
        f"the parameters are of no architecture that can be told ({', '.join(ARCHITECTURES)})"
    )


def _mlp(model: _Model) -> Spec | None:
    """Find linear layers, each of which reads what the one before it gives.

    Their order is that of the numbers in their names; layers that differ in more than a number are
    taken in the order of their names only where the user says that they follow each other.
    """
    layers = sorted({name.rpartition(".")[0] for name in model.shapes}, key=_natural)
    axes = {f"{layer}.{value}": n for layer in layers for value, n in (("weight", 2), ("bias", 1))}
    if len(layers) < 2 or any(axes.get(name) != len(shape) for name, shape in model.shapes.items()):
        return None
    sizes = [model.shapes.get(f"{layer}.weight", ()) for layer in layers]
    if not all(sizes) or any(made[0] != read[1] for made, read in pairwise(sizes)):
        return None
    alike = len({NUMBER.sub("{}", layer) for layer in layers}) == 1
    return mlp(layers) if alike or model.chosen else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what orders names as people do: numbers by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _llama(model: _Model) -> Spec | None:
    marks = model.prefixes(r"model\.layers\.0\.self_attn\.q_proj\.weight")
    if len(marks) != 1:
        return None
    first = f"{marks[0]}model.layers.0.self_attn."
    keys = model.shapes.get(f"{first}k_proj.weight")
    if keys is None:
        return None
    count = model.heads_of(model.shapes[f"{first}q_proj.weight"][0])
    width = model.shapes[f"{first}q_proj.weight"][0] // count
    if keys[0] % width:
        raise UsageError(f"keys of {keys[0]} elements do not divide into heads of {width}")
    return llama(count, keys[0] // width, width, marks[0])


def _encoder(model: _Model) -> Spec | None:
    return None if _decodes(model) else _transformer(model)


def _decoder(model: _Model) -> Spec | None:
    return _transformer(model) if _decodes(model) else None


def _decodes(model: _Model) -> bool:
    return any(".multihead_attn." in name for name in model.shapes)


def _transformer(model: _Model) -> Spec | None:
    """Find every stack of torch's transformer layers; names that are in none have no units."""
    stacks = model.prefixes(r"layers\.0\.self_attn\.in_proj_weight")
    if not stacks:
        return None
    found = Spec(())
    for stack in stacks:
        width = model.shapes[f"{stack}layers.0.self_attn.in_proj_weight"][-1]
        attends = f"{stack}layers.0.multihead_attn.in_proj_weight" in model.shapes
        make = transformer_decoder if attends else transformer_encoder
        found += make(model.heads_of(width), width, stack)
    inside = tuple(f"{stack}layers." for stack in stacks)
    around = (Rule(name) for name in model.shapes if not name.startswith(inside))
    return Spec((*around, *map(_in_place, found.rules)))


def _in_place(rule: Rule) -> Rule:
    """Return a rule by which what the layers read and add to is not permuted."""
    return replace(rule, axes=tuple(FREE if axis == RESIDUAL else axis for axis in rule.axes))


def _resnet(model: _Model) -> Spec | None:
    marks = model.prefixes(r"layer1\.0\.conv1\.weight")
    if len(marks) != 1:
        return None
    stages = 1
    while f"{marks[0]}layer{stages + 1}.0.conv1.weight" in model.shapes:
        stages += 1
    bottleneck = f"{marks[0]}layer1.0.conv3.weight" in model.shapes
    return resnet(marks[0], stages=stages, bottleneck=bottleneck)


ARCHITECTURES: Mapping[str, Find] = {
    "mlp": _mlp,
    "llama": _llama,
    "transformer-encoder": _encoder,
    "transformer-decoder": _decoder,
    "resnet": _resnet,
}
