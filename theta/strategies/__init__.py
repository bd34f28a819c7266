"""Merge strategies, one family per file.

Owns their registry; a strategy is imported when it is first asked for. Other packages add
strategies by the entry point group ``theta.strategies``: subclasses of `Strategy`.
"""

from theta.strategies.base import ConflictKind, Strategy
from theta_store.registry import Registry

# One line per strategy, in the order of the how-to page.
_HOMES = {
    "ours": "pick:Ours",
    "theirs": "pick:Theirs",
    "base": "pick:Base",
    "average": "linear:Average",
    "linear": "linear:LinearSum",
}
STRATEGIES: Registry[type[Strategy]] = Registry(
    "strategy",
    lazy={id_: f"theta.strategies.{home}" for id_, home in _HOMES.items()},
    group="theta.strategies",
)

__all__ = ["STRATEGIES", "ConflictKind", "Strategy"]
