"""The manifest of a modular model: its trunk, its experts, its router, and how they are joined.

Owns the manifest's shape, the file that a user writes (TOML or JSON), and the canonical text that
a commit keeps. Must not know what revisions mean, nor parameters of any model.
"""

import tomllib
from typing import Literal

import msgspec

from theta_store.errors import IntegrityError, UsageError

VERSION = 1
# What is kept beside a composed file is called after it.
SUFFIX = ".compose.json"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all parts share: immutability, and no key that would be ignored."""


class Trunk(_Section, frozen=True):
    """The model that everything but the experts is from.

    ``file`` may be left out where the commit holds one checkpoint.
    """

    revision: str = "HEAD"
    file: str | None = None


class Expert(_Section, frozen=True):
    """A model that lends its expert; ``prefix`` is what its names begin with, and is cut off."""

    name: str
    revision: str = "HEAD"
    file: str | None = None
    prefix: str = ""


class Given(_Section, frozen=True, tag="given", tag_field="kind"):
    """A router read from a file of arrays by name; ``file`` is relative to the manifest's."""

    file: str


class Zeros(_Section, frozen=True, tag="zeros", tag_field="kind"):
    """A router that prefers no expert."""


class Random(_Section, frozen=True, tag="random", tag_field="kind"):
    """A router drawn anew; the same seed gives the same one."""

    seed: int = 0


Router = Given | Zeros | Random


class Manifest(_Section, frozen=True):
    """All that a composition is made from.

    ``moe``: a checkpoint whose layers choose among the experts' MLPs. ``smear``: no checkpoint;
    `theta.nn` loads the experts and mixes them. Without ``router`` the trunk is a composed model,
    whose experts of these names or numbers are replaced. ``experts_per_token`` is for ``moe``.
    """

    trunk: Trunk
    experts: tuple[Expert, ...]
    router: Router | None = None
    mode: Literal["moe", "smear"] = "moe"
    experts_per_token: int = 2
    version: int = VERSION

    def __post_init__(self) -> None:
        names = [expert.name for expert in self.experts]
        if not names:
            raise UsageError("the manifest names no expert")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"the manifest names the expert {twice[0]} twice")
        if self.version != VERSION:
            raise UsageError(f"a manifest of version {self.version} needs a newer theta")
        if self.mode == "smear" and not isinstance(self.router, Zeros | Random):
            raise UsageError(
                "the router of a smear manifest is zeros or random: it is trained in its module"
            )
        chooses = self.mode == "moe" and self.router is not None
        if chooses and not 1 <= self.experts_per_token <= len(names):
            raise UsageError(
                f"experts_per_token is {self.experts_per_token}, of {len(names)} experts"
            )


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Read a manifest that a user wrote: TOML, or JSON where ``name`` ends with ``.json``."""
    try:
        if name.lower().endswith(".json"):
            return msgspec.json.decode(data, type=Manifest)
        return msgspec.convert(tomllib.loads(data.decode()), Manifest)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise UsageError(f"{name} is no manifest: {error}") from None


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest that a commit holds; anything else is an `IntegrityError`."""
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"the manifest is damaged: {error}", hint="theta fsck") from None


def write_manifest(manifest: Manifest) -> bytes:
    """Return the canonical text: JSON, sorted keys, two spaces, a newline at the end."""
    text = msgspec.json.encode(msgspec.to_builtins(manifest), order="sorted")
    return msgspec.json.format(text, indent=2) + b"\n"
