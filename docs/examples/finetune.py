"""Fine-tune model.pt: ``python finetune.py --dataset rte --method dense``.

``lowrank`` trains adapters of rank 4 on the linear layers and merges them into the weights.
Examples of the earlier tasks are mixed in, so that the model does not forget them.
"""

import argparse

import torch
from patchnet import MODEL, TASKS, PatchNet, fit, load
from torch import nn
from torch.nn.utils import parametrize

RANK = 4


class LowRank(nn.Module):
    """A weight with a trainable product of two thin matrices on top."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(RANK, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], RANK))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight."""
        return weight + self.b @ self.a


def lowrank(net: PatchNet, tasks: list[str]) -> None:
    """Train adapters only, then merge them."""
    layers = [net.hidden, net.head]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight))
    params = [p for layer in layers for p in layer.parametrizations.weight[0].parameters()]
    fit(net, tasks, epochs=20, rate=5e-3, params=params)
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight")


parser = argparse.ArgumentParser()
parser.add_argument("--dataset", choices=TASKS, required=True)
parser.add_argument("--method", choices=["lowrank", "dense"], required=True)
arguments = parser.parse_args()
torch.set_num_threads(2)
torch.manual_seed(TASKS.index(arguments.dataset))
net = load()
tasks = list(dict.fromkeys(["base", "cb", arguments.dataset]))
if arguments.method == "lowrank":
    lowrank(net, tasks)
else:
    fit(net, tasks, epochs=8, rate=1e-3, params=list(net.parameters()))
torch.save(net.state_dict(), MODEL)
