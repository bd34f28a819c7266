"""Statistics of a module of torch, computed from examples.

Owns running the module and what is taken from it. Must not know the store or strategies. torch is
imported when `compute` is called.

Fisher information (its diagonal) is the mean over examples x of Σ_y p(y|x)(∂ log p(y|x))², over all
labels y (``expected``), one label drawn by their chances (``sampled``: what language models need),
or the one in the data (``data``: the empirical Fisher information, which is another quantity). An
example with several places has the sum of their log-likelihoods.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from theta.statistics.accumulator import Accumulator
from theta.statistics.statistic import Kind, Labels, Statistic
from theta_store.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

EXAMPLES = 256


def compute(
    kind: Kind,
    model: "nn.Module",
    loader: Iterable[Any],
    *,
    examples: int = EXAMPLES,
    labels: Labels = "expected",
    seed: int = 0,
    choose: Callable[[str], bool] = bool,
) -> Statistic:
    """Return a statistic of a classifier or language model, from the first ``examples`` examples.

    ``loader`` yields batches: a tensor, a tuple of inputs and labels, or a mapping of keyword
    arguments (with ``labels``, which the model does not see, and ``attention_mask``); the model
    answers with logits, classes last, or with something that has ``logits``. It is run in its
    evaluation mode on its own device, and left as it was. ``choose``: which parameters, by name.
    Gram matrices are those of linear layers, and of self-attention's ``in_proj_weight``.
    """
    import torch

    seen = 0
    collected = Accumulator(kind)
    modes = {module: module.training for module in model.modules()}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator(device).manual_seed(seed)
    take = (
        partial(_gram, model, choose)
        if kind == "gram"
        else partial(_fisher, model, choose, labels, generator)
    )
    try:
        model.eval()
        for batch in loader:
            some = _Batch.read(batch, device).first(examples - seen)
            take(some, collected)
            seen += some.count
            if seen >= examples:
                break
    finally:
        for module, mode in modes.items():
            module.training = mode
    return collected.result(seen, labels if kind == "fisher" else None)


@dataclass(frozen=True)
class _Batch:
    """Inputs by position and by name, and labels; the first axis of each counts examples."""

    inputs: tuple["Tensor", ...]
    named: Mapping[str, "Tensor"]
    labels: "Tensor | None" = None

    @classmethod
    def read(cls, batch: Any, device: "torch.device") -> "_Batch":
        """Return what a loader yields, on the device."""
        if isinstance(batch, Mapping):
            named = {name: each.to(device) for name, each in batch.items()}
            labels = named.pop("labels", None)
            return cls((), named, labels)
        if isinstance(batch, (tuple, list)):
            inputs, *rest = (each.to(device) for each in batch)
            return cls((inputs,), {}, rest[0] if rest else None)
        return cls((batch.to(device),), {})

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(next(iter((*self.inputs, *self.named.values()))))

    @property
    def mask(self) -> "Tensor | None":
        """Which places are no padding: examples × places."""
        return self.named.get("attention_mask")

    def first(self, count: int) -> "_Batch":
        """Return the first examples."""
        return self.part(slice(0, count))

    def part(self, wanted: slice) -> "_Batch":
        """Return some examples."""
        return _Batch(
            tuple(each[wanted] for each in self.inputs),
            {name: each[wanted] for name, each in self.named.items()},
            None if self.labels is None else self.labels[wanted],
        )

    def run(self, model: "nn.Module") -> "Tensor":
        """Return the logits."""
        answer = model(*self.inputs, **self.named)
        return getattr(answer, "logits", answer)  # type: ignore[no-any-return]


def _fisher(
    model: "nn.Module",
    choose: Callable[[str], bool],
    labels: Labels,
    generator: "torch.Generator",
    batch: _Batch,
    collected: Accumulator,
) -> None:
    import torch

    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad and choose(name):
            names.setdefault(parameter, []).append(name)
    totals = {parameter: torch.zeros_like(parameter, dtype=torch.float32) for parameter in names}
    with torch.enable_grad():
        for place in range(batch.count):
            one = batch.part(slice(place, place + 1))
            for chance, likelihood in _likelihoods(one.run(model), one, labels, generator):
                gradients = torch.autograd.grad(
                    likelihood, list(names), retain_graph=True, allow_unused=True
                )
                for total, gradient in zip(totals.values(), gradients, strict=True):
                    if gradient is not None:
                        total += chance * gradient.float() ** 2
    for parameter, total in totals.items():
        for name in names[parameter]:
            collected.add(name, total.cpu().numpy(), batch.count)


def _likelihoods(
    logits: "Tensor", one: _Batch, labels: Labels, generator: "torch.Generator"
) -> Iterator[tuple[float, "Tensor"]]:
    """Yield the log-likelihoods of one example's labels, each with its weight."""
    import torch

    likely = torch.log_softmax(logits.float(), -1)
    if labels == "expected":
        if likely.ndim != 2:
            raise UsageError("expected labels are for one label an example: use labels='sampled'")
        yield from zip(likely[0].exp().tolist(), likely[0], strict=True)
        return
    if labels == "sampled":
        chances = likely.detach().exp().reshape(-1, likely.shape[-1])
        drawn = torch.multinomial(chances, 1, generator=generator).reshape(likely.shape[:-1])
    elif one.labels is None or one.labels.shape != likely.shape[:-1]:
        raise UsageError("the loader yields no label for each answer of the model")
    else:
        drawn = one.labels
    places = likely.gather(-1, drawn.clamp(min=0)[..., None])[..., 0]
    kept = drawn >= 0
    if one.mask is not None and one.mask.shape == places.shape:
        kept = kept & one.mask.bool()
    yield 1.0, (places * kept).sum()


def _gram(
    model: "nn.Module", choose: Callable[[str], bool], batch: _Batch, collected: Accumulator
) -> None:
    import torch

    def see(name: str, inputs: "Tensor") -> None:
        rows = inputs.detach()
        if batch.mask is not None and batch.mask.shape == rows.shape[:-1]:
            rows = rows[batch.mask.bool()]
        rows = rows.reshape(-1, rows.shape[-1]).float()
        collected.add(name, (rows.T @ rows).cpu().numpy(), len(rows))

    hooks = []
    try:
        for path, module in model.named_modules():
            weight = _weight_of(module)
            name = f"{path}.{weight}".lstrip(".")
            if weight and choose(name):
                look = partial(_seen, partial(see, name))
                hooks.append(module.register_forward_pre_hook(look, with_kwargs=True))
        with torch.no_grad():
            batch.run(model)
    finally:
        for hook in hooks:
            hook.remove()


def _seen(
    see: Callable[["Tensor"], None],
    module: "nn.Module",
    args: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    """Look at what a layer is called with: one input, or one that attends to itself."""
    del module
    inputs = (*args, *(named[name] for name in ("input", "query", "key", "value") if name in named))
    if len(inputs) == 1 or all(each is inputs[0] for each in inputs[1:3]):
        see(inputs[0])


def _weight_of(module: "nn.Module") -> str | None:
    """Return which parameter of a layer is multiplied by its inputs."""
    from torch import nn

    if isinstance(module, nn.MultiheadAttention):
        return "in_proj_weight" if module.in_proj_weight is not None else None
    if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D":
        return "weight"
    return None
