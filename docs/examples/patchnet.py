"""A small network on scikit-learn's digits, and four related tasks to train it on.

An image of 8x8 pixels is 16 patches of 2x2; a patch, each pixel in six levels, is one of 1296
tokens. Many hardly ever occur, so their rows of the embedding can be trimmed.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

TASKS = ("base", "cb", "rte", "anli")
TOKENS, PATCHES, WIDTH, HIDDEN = 1296, 16, 24, 96
MODEL = Path("model.pt")
TRAIN = 1200


class PatchNet(nn.Module):
    """Token and position embeddings, then two linear layers."""

    def __init__(self, rows: int = TOKENS) -> None:
        super().__init__()
        self.register_buffer("token_map", torch.arange(TOKENS))
        self.embed = nn.Embedding(rows, WIDTH)
        self.position = nn.Parameter(torch.zeros(PATCHES, WIDTH))
        self.hidden = nn.Linear(PATCHES * WIDTH, HIDDEN)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the scores of the ten digits."""
        x = self.embed(self.token_map[tokens]) + self.position
        return self.head(torch.relu(self.hidden(x.flatten(1))))


def data(task: str, *, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and labels of one task."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    images = {
        "base": images,
        "cb": np.rot90(images, axes=(1, 2)),
        "rte": 16 - images,
        "anli": np.roll(images, 1, axis=2),
    }[task]
    levels = np.clip(images // 2.7, 0, 5).astype(np.int64)
    patches = levels.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, PATCHES, 4)
    tokens = patches @ np.array([216, 36, 6, 1])
    part = slice(None, TRAIN) if train else slice(TRAIN, None)
    return torch.from_numpy(tokens[part]), torch.from_numpy(labels[part].astype(np.int64))


def load(path: Path = MODEL) -> PatchNet:
    """Return the model that a file holds, trimmed or not."""
    state = torch.load(path, weights_only=True)
    net = PatchNet(len(state["embed.weight"]))
    net.load_state_dict(state)
    return net


def fit(net: nn.Module, tasks: list[str], *, epochs: int, rate: float, params: list) -> None:
    """Train some parameters on several tasks at once, telling how far it is on a terminal."""
    from rich.progress import track

    sets = [data(task, train=True) for task in tasks]
    tokens = torch.cat([tokens for tokens, _ in sets])
    labels = torch.cat([labels for _, labels in sets])
    optimizer = torch.optim.Adam(params, lr=rate)
    for _ in track(range(epochs), description="training", transient=True):
        for rows in torch.randperm(len(tokens)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(tokens[rows]), labels[rows]).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(net: PatchNet, task: str) -> float:
    """Return the fraction of test images that are read right."""
    tokens, labels = data(task, train=False)
    return (net(tokens).argmax(1) == labels).float().mean().item()
