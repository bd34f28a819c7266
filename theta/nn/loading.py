"""Experts of a repository as tensors of torch.

Owns the way from a manifest to state dicts, and which dtypes torch can hold. Must not know what is
done with the experts.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from theta_store.errors import UsageError

if TYPE_CHECKING:
    from theta.compose import Manifest, Router
    from theta.repo import Repo
    from theta_store.records import Tensor as Record

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
ROUTER = "router.weight"


def load_experts(
    repository: "Repo | Path | str", manifest: "Manifest | str", width: int
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Return the state dict of each expert of a manifest, and a router: experts × width, float32.

    The tensors are the caller's own.
    """
    with _opened(repository) as repo:
        found = _manifest(repo, manifest) if isinstance(manifest, str) else manifest
        states = [_state(repo, params) for params in repo.expert_tensors(found).values()]
    return states, _router(found.router, len(states), width)


def _opened(repository: "Repo | Path | str") -> "AbstractContextManager[Repo]":
    """Return a repository to use: one that was given stays open."""
    from theta.repo import Repo

    if isinstance(repository, Repo):
        return nullcontext(repository)
    return Repo.open(Path(repository))


def _manifest(repo: "Repo", address: str) -> "Manifest":
    from theta.compose import read_manifest

    commit, parts = repo.address(address)
    if parts.file is None or parts.param is not None:
        raise UsageError(f"{address!r} names no manifest: REV:FILE.compose.json is expected")
    return read_manifest(repo.read_file(commit, parts.file))


def _state(repo: "Repo", params: "dict[str, Record]") -> dict[str, Tensor]:
    for name, record in params.items():
        if record.dtype not in DTYPES:
            raise UsageError(f"torch cannot hold {record.dtype}, the dtype of {name}")
    arrays = repo.read_tensors(params.values())
    return {
        name: torch.from_numpy(array).view(DTYPES[record.dtype]).reshape(record.shape)
        for (name, record), array in zip(params.items(), arrays, strict=True)
    }


def _router(router: "Router | None", experts: int, width: int) -> Tensor:
    from theta.compose import Gate, Given, gate_values

    if router is None or isinstance(router, Given):
        raise UsageError("the router of soft-merged experts is zeros or random, then trained")
    plain = bytearray(gate_values(Gate(ROUTER, "F32", (experts, width)), router))
    return torch.frombuffer(plain, dtype=torch.float32).reshape(experts, width)
