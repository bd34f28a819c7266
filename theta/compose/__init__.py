"""Modular models: one model put together from a trunk, experts of several commits, and a router.

Owns the manifest, which parameter of which model goes where, new routers, and the config of the
model that is made. Must not know refs, the workspace nor torch: revisions are found by who asks.
"""

from theta.compose.assembly import (
    Assembly,
    Part,
    assembled,
    check_alike,
    experts_of,
    fitting,
    grafted,
    is_composed,
    part,
)
from theta.compose.manifest import (
    SUFFIX,
    Expert,
    Given,
    Manifest,
    Random,
    Router,
    Trunk,
    Zeros,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from theta.compose.mixtral import mixtral_config
from theta.compose.router import Gate, NewGate, gate_values
from theta.compose.writing import check_name, entry_of

__all__ = [
    "SUFFIX",
    "Assembly",
    "Expert",
    "Gate",
    "Given",
    "Manifest",
    "NewGate",
    "Part",
    "Random",
    "Router",
    "Trunk",
    "Zeros",
    "assembled",
    "check_alike",
    "check_name",
    "entry_of",
    "experts_of",
    "fitting",
    "gate_values",
    "grafted",
    "is_composed",
    "mixtral_config",
    "parse_manifest",
    "part",
    "read_manifest",
    "write_manifest",
]
