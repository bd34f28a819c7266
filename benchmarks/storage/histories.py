"""The histories that are measured: which checkpoint follows which.

Owns their order, parents, branches and files. Must not know how anything is trained or kept.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch

from benchmarks.storage.adapters import SCALE, State, merge_lora, merge_lora_rounding_first
from benchmarks.storage.checkpoints import Checkpoints
from benchmarks.storage.contents import is_embedding, read_contents, write_safetensors
from benchmarks.storage.derived import (
    average,
    cast,
    grow_rows,
    permuted,
    take_rows,
    used_tokens,
)

MAIN = "main"
TALK = "talk"
TALK_TASKS = ["cb", "rte", "anli"]


@dataclass(frozen=True)
class Step:
    """A commit: its file, its parents by position in the history, and its branch.

    ``factors`` is the update that made it, for a peer that has to be told.
    """

    label: str
    path: Path
    parents: tuple[int, ...] = ()
    branch: str = MAIN
    factors: Path | None = None

    @property
    def is_merge(self) -> bool:
        """Whether the commit averages two branches."""
        return len(self.parents) == 2


@dataclass(frozen=True)
class History:
    """Commits in the order in which they are made; the first one is the model as it was."""

    name: str
    title: str
    steps: tuple[Step, ...]

    @property
    def file(self) -> str:
        """The name of the one file in the user's folder."""
        return f"model{self.steps[0].path.suffix}"

    def parent(self, step: Step) -> Path | None:
        """Return the file of a step's first parent."""
        return self.steps[step.parents[0]].path if step.parents else None


@dataclass(frozen=True)
class Files:
    """The files of histories, written once each next to the checkpoints."""

    at: Checkpoints
    folder: Path
    made: dict[str, State] = field(default_factory=dict)

    def state(self, name: str) -> State:
        """Return the tensors of a trained or derived checkpoint."""
        if name not in self.made:
            recipe = _DERIVED.get(name)
            self.made[name] = self.at.load(name) if recipe is None else recipe(self)
        return self.made[name]

    @property
    def last_of_loop(self) -> str:
        """The name of the last checkpoint of the loop, which is the full fine-tune."""
        return f"loop-{self.at.settings.loop_checkpoints:02}"

    def path(self, name: str, suffix: str = ".safetensors") -> Path:
        """Return the file of a checkpoint, written if it is not there yet."""
        path = self.folder / f"{name}{suffix}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".unfinished").write_bytes(_serialised(self.state(name), suffix))
            path.with_suffix(".unfinished").rename(path)
        return path

    def line(self, name: str, title: str, *states: str) -> History:
        """Return a history without branches."""
        steps = [
            Step(state, self.path(state), (i - 1,) if i else ()) for i, state in enumerate(states)
        ]
        return History(name, title, tuple(steps))


def build_histories(at: Checkpoints) -> Iterator[History]:
    """Return every history, training what is missing; the talk's own comes first.

    Files are made anew each time: only what was trained is kept.
    """
    shutil.rmtree(at.folder / "files", ignore_errors=True)
    files = Files(at, at.folder / "files")
    line = files.line
    count = at.settings.loop_checkpoints
    loop = [f"loop-{i:02}" for i in range(1, count + 1)]
    yield talk(files)
    yield line("full", "full fine-tune, fp32", "base", files.last_of_loop)
    yield line("full-bf16", "full fine-tune, its bf16 cast", "base-bf16", "full-bf16")
    yield line("half", "pure bf16 training", "base-bf16", "half-1", "half-2")
    yield line("loop", f"training loop, {count} checkpoints, fp32", "base", *loop)
    yield line("bitfit", "BitFit", "base", "bitfit")
    yield line("lora", "LoRA merged, fp32", "base", "lora")
    yield line("lora-bf16", "LoRA merged in bf16, as PEFT does", "base-bf16", "lora-bf16")
    yield line("lora-bf16-once", "LoRA merged, one rounding to bf16", "base-bf16", "lora-once")
    yield line("sparse", "sparse, FISH mask of 0.5 %", "base", "sparse")
    yield line("ia3", "IA3 folded in", "base", "ia3")
    yield line("trim", "embedding trimmed at scattered rows", "base", "trimmed")
    yield line("grow", "vocabulary grown by 64 rows", "base", "grown")
    yield line("permute", "rows permuted", "base", "permuted")
    yield line("copy-bf16", "bf16 copy of an fp32 model", "base", "base-bf16")
    yield branches(files)
    yield resumable(files)
    yield line("first-fp32", "first commit, fp32", "base")
    yield line("first-bf16", "first commit, bf16", "base-bf16")
    yield line("first-fp16", "first commit, fp16", "base-fp16")
    yield line("first-fp8", "first commit, fp8 (e4m3)", "base-fp8")


def talk(files: Files) -> History:
    """Return the talk's own history: a torch file, two dense branches, their average, a trim."""
    steps = [
        Step("base", files.path("base", ".pt")),
        Step(
            "LoRA",
            files.path("lora", ".pt"),
            (0,),
            factors=files.path("lora-told", ".pt"),
        ),
        Step("dense, branch rte", files.path("rte", ".pt"), (1,), "rte"),
        Step("dense, main", files.path("anli", ".pt"), (1,)),
        Step("average", files.path("talk-average", ".pt"), (3, 2)),
        Step("trim", files.path("talk-trimmed", ".pt"), (4,)),
    ]
    return History(TALK, "the talk's own history", tuple(steps))


def branches(files: Files) -> History:
    """Return two fine-tunes of one model and their average."""
    steps = [
        Step("lora", files.path("lora")),
        Step("rte", files.path("rte"), (0,), "rte"),
        Step("anli", files.path("anli"), (0,)),
        Step("average", files.path("talk-average"), (2, 1)),
    ]
    return History("average", "average of two branches", tuple(steps))


def resumable(files: Files) -> History:
    """Return the last checkpoints of the loop with the optimizer's state, one torch file each."""
    count = files.at.settings.loop_checkpoints
    names = [f"resume-{i:02}" for i in range(count - 2, count + 1)]
    steps = [
        Step(name, files.path(name, ".pt"), (i - 1,) if i else ()) for i, name in enumerate(names)
    ]
    return History("resume", "optimizer state included", tuple(steps))


def embedding_alone(history: History, folder: Path) -> History:
    """Return a history whose files hold nothing but the embedding's tensors."""
    steps = []
    for i, step in enumerate(history.steps):
        tensors = read_contents(step.path).tensors
        path = folder / f"{i}.safetensors"
        write_safetensors(path, {name: tensors[name] for name in filter(is_embedding, tensors)})
        steps.append(replace(step, path=path))
    return History(history.name, history.title, tuple(steps))


def _serialised(state: State, suffix: str) -> bytes:
    if suffix == ".safetensors":
        plain = {name: value.contiguous() for name, value in state.items()}
        return safetensors.torch.save(plain)
    data = io.BytesIO()
    torch.save(state, data)
    return data.getvalue()


def _told(files: Files) -> State:
    """Return a low-rank update as git-theta wants it: the factors R and C of a difference."""
    factors = files.state("lora-factors")
    names = [name.removesuffix(".A") for name in factors if name.endswith(".A")]
    told = {f"{name}/R": SCALE * factors[f"{name}.B"] for name in names}
    return told | {f"{name}/C": factors[f"{name}.A"] for name in names}


_DERIVED: dict[str, Callable[[Files], State]] = {
    "base-bf16": lambda files: cast(files.state("base"), torch.bfloat16),
    "base-fp16": lambda files: cast(files.state("base"), torch.float16),
    "base-fp8": lambda files: cast(files.state("base"), torch.float8_e4m3fn),
    "full-bf16": lambda files: cast(files.state(files.last_of_loop), torch.bfloat16),
    "lora-bf16": lambda files: merge_lora_rounding_first(
        files.state("base-bf16"), files.state("lora-factors")
    ),
    "lora-once": lambda files: merge_lora(files.state("base-bf16"), files.state("lora-factors")),
    "lora-told": _told,
    "talk-average": lambda files: average(files.state("anli"), files.state("rte")),
    "talk-trimmed": lambda files: take_rows(
        files.state("talk-average"), used_tokens(files.at.corpus, TALK_TASKS)
    ),
    "trimmed": lambda files: take_rows(
        files.state("base"), used_tokens(files.at.corpus, TALK_TASKS)
    ),
    "grown": lambda files: grow_rows(files.state("base"), files.at.settings.seed),
    "permuted": lambda files: take_rows(
        files.state("base"), permuted(files.at.settings.shape.vocabulary, files.at.settings.seed)
    ),
}
