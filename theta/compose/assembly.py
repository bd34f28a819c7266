"""Which tensor of which model goes where in a mixture of experts.

Owns the names of Llama-like models and of Mixtral, and what it takes for experts to fit. Must not
read values: everything is decided by names, dtypes and shapes.

The trunk gives everything but the MLP of each layer. Expert N of a layer is an expert model's MLP
of that layer, as ``block_sparse_moe.experts.N`` with w1 (gate), w2 (down) and w3 (up).
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from theta.checkpoint import Reader, same_spec
from theta.compose.router import Gate
from theta_store.arithmetic import is_computable
from theta_store.dtypes import dtype
from theta_store.errors import UsageError
from theta_store.ids import TensorId

SHOWN = 5
PLACES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_LLAMA = {place: name for name, place in PLACES.items()}
_BLOCK = "block_sparse_moe"
_MLP = re.compile(r"(?P<layer>(?:.*\.)?layers\.\d+)\.mlp\.(?P<rest>.+)")
_WEIGHT = re.compile(r"(gate_proj|down_proj|up_proj)\.weight")
_EXPERT = re.compile(
    r"(?P<layer>(?:.*\.)?layers\.\d+)\.block_sparse_moe\.experts\.(?P<n>\d+)\.(?P<place>w[123])"
    r"\.weight"
)

Leaves = Mapping[str, TensorId]


@dataclass(frozen=True)
class Part:
    """A model that lends parameters: what it is called, and those behind its prefix, by name."""

    label: str
    leaves: Leaves


@dataclass(frozen=True)
class Assembly:
    """A composed model: tensors that exist already, by name, and the gates still to be made.

    ``notices`` say what of the experts is not in it.
    """

    leaves: Leaves
    gates: tuple[Gate, ...] = ()
    notices: tuple[str, ...] = ()


class _Weight(NamedTuple):
    """A weight of a layer's MLP: its name, its layer, and what Mixtral calls it."""

    name: str
    layer: str
    place: str


def part(label: str, leaves: Leaves, prefix: str) -> Part:
    """Return a model's parameters behind a prefix, which is a run of whole components."""
    start = f"{prefix.rstrip('.')}." if prefix else ""
    found = {n.removeprefix(start): id_ for n, id_ in leaves.items() if n.startswith(start)}
    if not found:
        raise UsageError(f"{label}: no parameter begins with {prefix}; nothing was composed")
    return Part(label, found)


def assembled(reader: Reader, trunk: Part, experts: Sequence[Part]) -> Assembly:
    """Return the mixture of experts; all that does not fit is named by one `UsageError`."""
    weights = _weights(trunk)
    names = {weight.name for weight in weights}
    _refuse([each for expert in experts for each in _misfits(reader, trunk, expert, weights)])
    leaves = {name: id_ for name, id_ in trunk.leaves.items() if name not in names}
    for number, expert in enumerate(experts):
        for weight in weights:
            leaves[_placed(weight.layer, number, weight.place)] = expert.leaves[weight.name]
    gates = tuple(_gates(reader, trunk, weights, len(experts)))
    return Assembly(leaves, gates, tuple(_left_out(trunk, experts, names)))


def grafted(reader: Reader, trunk: Part, experts: Mapping[int, Part]) -> Assembly:
    """Return a composed model with some experts, by number, replaced.

    The new one is the MLP of each layer of a Llama-like model. All that does not fit is named by
    one `UsageError`.
    """
    kept = dict(trunk.leaves)
    wrong: list[str] = []
    for name, old in trunk.leaves.items():
        place = _EXPERT.fullmatch(name)
        expert = experts.get(int(place["n"])) if place else None
        if place and expert:
            source = f"{place['layer']}.mlp.{_LLAMA[place['place']]}.weight"
            wrong += _misfit(reader, expert, source, old)
            kept[name] = expert.leaves.get(source, old)
    _refuse(wrong)
    return Assembly(kept)


def fitting(
    reader: Reader, gates: Sequence[Gate], given: Leaves, label: str
) -> dict[str, TensorId]:
    """Return the gates that a file gives; those it lacks or that do not fit are a `UsageError`."""
    wrong = []
    for gate in gates:
        if gate.name not in given:
            wrong.append(f"{label} has no {gate.name}")
            continue
        tensor = reader.tensor(given[gate.name])
        if tensor.shape != gate.shape or not is_computable(dtype(tensor.dtype)):
            wanted = f"{gate.dtype} {'×'.join(map(str, gate.shape))}"
            wrong.append(f"{gate.name} is {_spell(reader, given[gate.name])}, not {wanted}")
    _refuse(wrong)
    return {gate.name: given[gate.name] for gate in gates}


def check_alike(reader: Reader, experts: Sequence[Part]) -> None:
    """Refuse models that have not all the names, dtypes and shapes of the first."""
    first, *others = experts
    wrong = []
    for other in others:
        wrong += [
            f"{first.label} has no {n}" for n in sorted(other.leaves.keys() - first.leaves.keys())
        ]
        for name, wanted in first.leaves.items():
            wrong += _misfit(reader, other, name, wanted)
    _refuse(wrong)


def is_composed(leaves: Iterable[str]) -> bool:
    """Say whether a model has experts already."""
    return any(_EXPERT.fullmatch(name) for name in leaves)


def experts_of(leaves: Iterable[str]) -> int:
    """Return how many experts a composed model has."""
    return 1 + max((int(m["n"]) for name in leaves if (m := _EXPERT.fullmatch(name))), default=-1)


def _weights(trunk: Part) -> list[_Weight]:
    """Return the weights of the trunk's MLPs; what Mixtral has no place for is a `UsageError`."""
    found: list[_Weight] = []
    wrong: list[str] = []
    for name in sorted(trunk.leaves):
        mlp = _MLP.fullmatch(name)
        if mlp is None:
            continue
        kind = _WEIGHT.fullmatch(mlp["rest"])
        if kind is None:
            wrong.append(f"{trunk.label}: a mixture of experts has no place for {name}")
        else:
            found.append(_Weight(name, mlp["layer"], PLACES[kind[1]]))
    have = {(weight.layer, weight.place) for weight in found}
    for layer in sorted({weight.layer for weight in found}):
        lacks = [kind for kind, place in PLACES.items() if (layer, place) not in have]
        wrong += [f"{trunk.label} has no {layer}.mlp.{kind}.weight" for kind in lacks]
    if not found and not wrong:
        raise UsageError(
            f"{trunk.label} has no layers.N.mlp with gate_proj, down_proj and up_proj; "
            "nothing was composed"
        )
    _refuse(wrong)
    return found


def _left_out(trunk: Part, experts: Sequence[Part], taken: Container[str]) -> Iterator[str]:
    """Say which experts differ from the trunk outside their MLPs: that part of them is lost."""
    for expert in experts:
        own = sorted(n for n in expert.leaves if n not in taken)
        lost = [name for name in own if expert.leaves[name] != trunk.leaves.get(name)]
        if lost:
            yield (
                f"{expert.label}: {len(lost)} of its other parameters are not the trunk's, and "
                f"are left out: {lost[0]}{' …' if len(lost) > 1 else ''}"
            )


def _misfits(
    reader: Reader, trunk: Part, expert: Part, weights: Sequence[_Weight]
) -> Iterator[str]:
    for weight in weights:
        yield from _misfit(reader, expert, weight.name, trunk.leaves[weight.name])


def _misfit(reader: Reader, expert: Part, name: str, wanted: TensorId) -> Iterator[str]:
    """Say why an expert's parameter cannot take a place, if it cannot."""
    own = expert.leaves.get(name)
    if own is None:
        yield f"{expert.label} has no {name}"
    elif not same_spec(reader, own, wanted):
        yield f"{name} is {_spell(reader, own)} in {expert.label}, not {_spell(reader, wanted)}"


def _gates(reader: Reader, trunk: Part, weights: Sequence[_Weight], experts: int) -> Iterator[Gate]:
    for weight in weights:
        if weight.place == "w1":
            tensor = reader.tensor(trunk.leaves[weight.name])
            if len(tensor.shape) != 2:
                _refuse(
                    [f"{weight.name} is {_spell(reader, trunk.leaves[weight.name])}: no matrix"]
                )
            name = f"{weight.layer}.{_BLOCK}.gate.weight"
            yield Gate(name, tensor.dtype, (experts, tensor.shape[1]))


def _placed(layer: str, number: int, place: str) -> str:
    return f"{layer}.{_BLOCK}.experts.{number}.{place}.weight"


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UsageError(f"{'; '.join(wrong[:SHOWN])}{more}; nothing was composed")


def _spell(reader: Reader, id_: TensorId) -> str:
    tensor = reader.tensor(id_)
    return f"{tensor.dtype} {'×'.join(map(str, tensor.shape)) or 'scalar'}"
