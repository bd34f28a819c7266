"""SMEAR (Muqeeth, Liu and Raffel 2023): experts merged anew for each example.

Owns the module, and the static model that a fixed distribution over the experts makes.

A router reads the mean over an example's tokens: p = softmax(W·LN(mean)). One expert with the
parameters Σ pᵢΘᵢ runs, once. So the cost is about that of one expert, and gradients reach the
router without any trick.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from theta.nn.loading import load_experts
from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.compose import Manifest
    from theta.repo import Repo

State = Mapping[str, Tensor]


class SoftMergedExperts(nn.Module):
    """Experts of one architecture, and the router that mixes their parameters.

    ``template``: a module of that architecture; it is copied. ``experts``: modules or state dicts
    with its names and shapes; what is no floating-point number must be equal in all. ``width``:
    length of the last axis of the inputs. ``dropout``: chance that an expert is left out of an
    example's mixture in training.

    `experts` is the template with one more axis, the first, in all that is mixed. The module lives
    where the template's first tensor does; of a template on the ``meta`` device, where the first
    expert's does. An expert must run under ``torch.vmap``: no batch norm in training.
    """

    def __init__(
        self,
        template: nn.Module,
        experts: Sequence[nn.Module | State],
        width: int,
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout is at least 0 and below 1, not {dropout}")
        states = [each.state_dict() if isinstance(each, nn.Module) else each for each in experts]
        self.experts = _stacked(template, states)
        self.count = len(states)
        self.dropout = dropout
        home = _home(self.experts.state_dict())
        self.norm = nn.LayerNorm(width, device=home)
        self.router = nn.Linear(width, self.count, bias=False, device=home)

    @classmethod
    def from_repository(
        cls,
        repository: "Repo | Path | str",
        manifest: "Manifest | str",
        build: Callable[[], nn.Module],
        width: int,
        *,
        dropout: float = 0.1,
    ) -> Self:
        """Return the experts and the router that a manifest names; no checkout is needed.

        ``repository``: open, or the path of one. ``manifest``: one at hand, or the address of one
        that was committed, such as ``main:experts.compose.json``. ``build``: makes an expert of the
        right architecture. A given router is a `UsageError`: its gates are those of a ``moe``.
        """
        states, router = load_experts(repository, manifest, width)
        made = cls(build(), states, width, dropout=dropout)
        with torch.no_grad():
            made.router.weight.copy_(router)
        return made

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return each example's answer of its own merged expert.

        ``inputs``: examples × … × width. ``mask``: examples × …, which tokens are no padding.
        """
        chances = self.chances(inputs, mask)
        return self.answer(inputs, self._thinned(chances) if self.training else chances)

    def chances(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the router's distribution over the experts: examples × experts."""
        tokens = inputs.reshape(len(inputs), -1, inputs.shape[-1])
        if mask is None:
            mean = tokens.mean(1)
        else:
            kept = mask.reshape(len(inputs), -1, 1).to(tokens.dtype)
            mean = (tokens * kept).sum(1) / kept.sum(1).clamp(min=1)
        return torch.softmax(self.router(self.norm(mean)), -1)

    def answer(self, inputs: Tensor, chances: Tensor) -> Tensor:
        """Return each example's answer for given distributions: examples × experts."""
        merged = {
            name: torch.einsum("bn,n...->b...", chances.to(each.dtype), each)
            for name, each in _mixed(self.experts).items()
        }

        def run(state: dict[str, Tensor], one: Tensor) -> Tensor:
            found: Tensor = functional_call(self.experts, state, (one[None],))
            return found[0]

        found: Tensor = vmap(run, randomness="different")(merged, inputs)
        return found

    def merged(self, chances: Sequence[float] | Tensor) -> dict[str, Tensor]:
        """Return the state dict of the one static expert that a distribution makes."""
        shares = torch.as_tensor(chances, dtype=torch.float64).detach().cpu()
        if shares.shape != (self.count,):
            raise UsageError(f"{tuple(shares.shape)} chances for {self.count} experts")
        mixed = _mixed(self.experts, tied=True)
        return {
            name: (
                torch.tensordot(shares.to(each.device, each.dtype), each.detach(), 1)
                if name in mixed
                else each.detach().clone()
            )
            for name, each in self.experts.state_dict().items()
        }

    def _thinned(self, chances: Tensor) -> Tensor:
        """Return distributions without the experts that dropout takes; never without all."""
        kept = torch.rand_like(chances) >= self.dropout
        kept = kept | ~kept.any(-1, keepdim=True)
        thinned = chances * kept
        return thinned / thinned.sum(-1, keepdim=True)


def _stacked(template: nn.Module, states: Sequence[State]) -> nn.Module:
    """Return the template with the experts' values in place of its own."""
    wanted = template.state_dict()
    if not states:
        raise UsageError("no experts were given")
    for state in states:
        shapes = {name: each.shape for name, each in state.items()}
        if shapes != {name: each.shape for name, each in wanted.items()}:
            raise UsageError("an expert has other names or shapes than the template")
    made = copy.deepcopy(template)
    home = _home(wanted, *states)
    _check_values(made, states, home)
    parameters: dict[nn.Parameter, nn.Parameter] = {}
    for name, old in list(made.named_parameters(remove_duplicate=False)):
        if old not in parameters:
            values = torch.stack([state[name].detach().to(home) for state in states])
            parameters[old] = nn.Parameter(values, requires_grad=old.requires_grad)
        _put(made, name, parameters[old])
    for name, buffer in list(made.named_buffers(remove_duplicate=False)):
        if name not in wanted:
            continue
        values = torch.stack([state[name].detach().to(home) for state in states])
        if buffer.is_floating_point():
            _put(made, name, values)
        elif (values == values[0]).all():
            _put(made, name, values[0].clone())
        else:
            raise UsageError(f"{name} differs between the experts, and is nothing to mix")
    return made


def _home(*states: State) -> torch.device | None:
    """Return the device of the first tensor that has values, or of the first one; None: of none."""
    devices = [each.device for state in states for each in state.values()]
    return next((each for each in devices if each.type != "meta"), next(iter(devices), None))


def _check_values(made: nn.Module, states: Sequence[State], home: torch.device | None) -> None:
    """Refuse what has no values where the rest has some."""
    if home is None or home.type == "meta":
        return
    lost = [name for state in states for name, each in state.items() if each.is_meta]
    kept = made.state_dict()
    # What no expert gives stays the template's own.
    lost += [name for name, each in made.named_buffers() if name not in kept and each.is_meta]
    if lost:
        raise UsageError(f"{lost[0]} has no values: it is on the meta device")


def _put(module: nn.Module, name: str, values: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(path), leaf, values)


def _mixed(experts: nn.Module, *, tied: bool = False) -> dict[str, Tensor]:
    """Return what has an axis of experts, by name; ``tied``: by all its names."""
    kept = experts.state_dict(keep_vars=True)
    buffers = {
        name: each
        for name, each in experts.named_buffers()
        if name in kept and each.is_floating_point()
    }
    return {**dict(experts.named_parameters(remove_duplicate=not tied)), **buffers}
