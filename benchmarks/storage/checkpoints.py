"""The trained checkpoints, each trained once and kept under a key of everything it depends on.

Owns which training makes which checkpoint, the cache and the hashes. Must not know histories.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.storage import adapters, corpus, transformer, tuning
from benchmarks.storage.adapters import fold_ia3, merge_lora, new_ia3, new_lora
from benchmarks.storage.corpus import BASE, Corpus, load_corpus
from benchmarks.storage.transformer import Shape, Transformer, seeded
from benchmarks.storage.tuning import Task, Trained, fisher_mask, one_thread, train, train_adapter

Saved = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Sizes of the model and of every training; rates are AdamW's."""

    shape: Shape = field(default_factory=Shape)
    text_bytes: int = 2_000_000
    batch: int = 8
    base_steps: int = 300
    tune_steps: int = 40
    loop_checkpoints: int = 10
    loop_every: int = 10
    base_rate: float = 1e-3
    dense_rate: float = 2e-5
    adapter_rate: float = 1e-3
    seed: int = 0


QUICK = Settings(
    shape=Shape(vocabulary=320, width=64, layers=3, heads=2, context=16),
    text_bytes=60_000,
    batch=4,
    base_steps=12,
    tune_steps=4,
    loop_checkpoints=3,
    loop_every=2,
)


@dataclass(frozen=True)
class Checkpoints:
    """Trained states by name; what is not in the folder yet is trained when asked for."""

    settings: Settings
    corpus: Corpus
    folder: Path

    @classmethod
    def open(cls, settings: Settings, cache: Path) -> "Checkpoints":
        """Open the cache's folder for these settings, this text, this torch and this code."""
        text = load_corpus(settings.shape.vocabulary, settings.text_bytes)
        folder = cache / _key(settings, text)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(settings, text, folder)

    def path(self, name: str) -> Path:
        """Return the file of a checkpoint, training it first if need be."""
        path = self.folder / f"{name}.pt"
        if not path.exists():
            with one_thread():
                _RECIPES[_recipe(name)](self)
        return path

    def load(self, name: str) -> Saved:
        """Return what a checkpoint holds."""
        return torch.load(self.path(name), weights_only=True)

    def save(self, name: str, saved: Saved) -> None:
        """Keep a checkpoint; it appears whole or not at all."""
        unfinished = self.folder / f"{name}.unfinished"
        torch.save({key: _detached(value) for key, value in saved.items()}, unfinished)
        unfinished.rename(self.folder / f"{name}.pt")

    def model(self, name: str) -> Transformer:
        """Return a model that holds a checkpoint."""
        model = Transformer(self.settings.shape)
        model.load_state_dict(self.load(name))
        return model

    def task(self, name: str, seed: int, **changes: Any) -> Task:
        """Return the task of fine-tuning on a text, dense unless changed."""
        plan = self.settings
        given = {"steps": plan.tune_steps, "rate": plan.dense_rate} | changes
        return Task(self.corpus.tokens[name], batch=plan.batch, seed=plan.seed + seed, **given)

    def tell(self, name: str, done: Trained) -> None:
        """Print and keep what a training did to the loss, in nats per token."""
        told = f"trained {name}: {done.before:.3f} to {done.after:.3f} nats per token"
        print(told, file=sys.stderr, flush=True)
        losses = {"before": round(done.before, 3), "after": round(done.after, 3)}
        (self.folder / f"{name}.loss.json").write_text(json.dumps(losses))

    def losses(self) -> dict[str, dict[str, float]]:
        """Return the losses of every kept training by its name."""
        found = sorted(self.folder.glob("*.loss.json"))
        return {path.name.split(".")[0]: json.loads(path.read_text()) for path in found}

    def digests(self) -> dict[str, str]:
        """Return the first 16 digits of the sha256 of the tensors of every kept checkpoint."""
        found = sorted(self.folder.glob("*.pt"))
        return {path.stem: digest(torch.load(path, weights_only=True)) for path in found}


def digest(saved: Saved) -> str:
    """Return a hash of names and values, nested ones included, not of the file's layout."""
    found = hashlib.sha256()
    for name, value in saved.items():
        found.update(str(name).encode() + b"\0")
        if isinstance(value, torch.Tensor):
            found.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            found.update(digest(value).encode())
        else:
            found.update(repr(value).encode())
    return found.hexdigest()[:16]


def _key(settings: Settings, text: Corpus) -> str:
    """Hash what checkpoints depend on: settings, text, torch, and the code that trains."""
    found = hashlib.sha256(f"{settings!r} {text.digest} {torch.__version__}".encode())
    for module in (adapters, corpus, transformer, tuning, sys.modules[__name__]):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()[:16]


def _detached(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _base(at: Checkpoints) -> None:
    plan = at.settings
    model = seeded(plan.shape, plan.seed)
    task = at.task(BASE, 0, steps=plan.base_steps, rate=plan.base_rate)
    at.tell("base", train(model, task))
    at.save("base", model.state_dict())


def _lora(at: Checkpoints) -> None:
    model = at.model("base")
    factors = new_lora(model.state_dict(), at.settings.seed)
    task = at.task("cb", 1, rate=at.settings.adapter_rate, decay=0.0)
    at.tell("lora", train_adapter(model, merge_lora, factors, task))
    at.save("lora-factors", factors)
    at.save("lora", merge_lora(model.state_dict(), factors))


def _dense(name: str, seed: int) -> Callable[[Checkpoints], None]:
    def recipe(at: Checkpoints) -> None:
        model = at.model("lora")
        at.tell(name, train(model, at.task(name, seed)))
        at.save(name, model.state_dict())

    return recipe


def _loop(at: Checkpoints) -> None:
    """Save every few steps, then the last three once more with the optimizer's state."""
    plan = at.settings
    steps = plan.loop_checkpoints * plan.loop_every
    model = at.model("base")
    task = at.task("loop", 4, steps=steps)

    def after(step: int, optimizer: torch.optim.AdamW) -> None:
        if step % plan.loop_every:
            return
        number = step // plan.loop_every
        at.save(f"loop-{number:02}", model.state_dict())
        if number > plan.loop_checkpoints - 3:
            resume = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            at.save(f"resume-{number:02}", resume)

    at.tell("loop", train(model, task, after=after))


def _half(at: Checkpoints) -> None:
    """Train with the weights rounded to bfloat16 after every step."""
    model = at.model("base")
    _round(model)
    steps = 2 * at.settings.tune_steps

    def after(step: int, _: torch.optim.AdamW) -> None:
        _round(model)
        if step % at.settings.tune_steps == 0:
            state = {name: value.bfloat16() for name, value in model.state_dict().items()}
            at.save(f"half-{step // at.settings.tune_steps}", state)

    at.tell("half", train(model, at.task("loop", 5, steps=steps), after=after))


@torch.no_grad()
def _round(model: Transformer) -> None:
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())


def _bitfit(at: Checkpoints) -> None:
    model = at.model("base")
    biases = {name: None for name, _ in model.named_parameters() if name.endswith("bias")}
    task = at.task("anli", 6, rate=at.settings.adapter_rate)
    at.tell("bitfit", train(model, task, only=biases))
    at.save("bitfit", model.state_dict())


def _sparse(at: Checkpoints) -> None:
    """Train the 0.5 % that a FISH mask picks; without decay the rest does not move at all."""
    model = at.model("base")
    task = at.task("rte", 7, rate=at.settings.adapter_rate / 2, decay=0.0)
    at.tell("sparse", train(model, task, only=fisher_mask(model, task)))
    at.save("sparse", model.state_dict())


def _ia3(at: Checkpoints) -> None:
    model = at.model("base")
    vectors = new_ia3(model.state_dict())
    task = at.task("cb", 8, rate=5 * at.settings.adapter_rate, decay=0.0)
    at.tell("ia3", train_adapter(model, fold_ia3, vectors, task))
    at.save("ia3", fold_ia3(model.state_dict(), vectors))


def _recipe(name: str) -> str:
    """Return which training makes a checkpoint: its name up to a number or a part."""
    return name.split("-")[0]


_RECIPES: dict[str, Callable[[Checkpoints], None]] = {
    "base": _base,
    "lora": _lora,
    "rte": _dense("rte", 2),
    "anli": _dense("anli", 3),
    "loop": _loop,
    "resume": _loop,
    "half": _half,
    "bitfit": _bitfit,
    "sparse": _sparse,
    "ia3": _ia3,
}
