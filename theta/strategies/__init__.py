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
    "slerp": "slerp:Slerp",
    "nuslerp": "slerp:NuSlerp",
    "multislerp": "slerp:MultiSlerp",
    "karcher": "karcher:Karcher",
    "task-arithmetic": "task_arithmetic:TaskArithmetic",
    "ties": "ties:Ties",
    "dare": "dare:Dare",
    "dare-ties": "dare:DareTies",
    "della": "della:Della",
    "della-linear": "della:DellaLinear",
    "breadcrumbs": "breadcrumbs:Breadcrumbs",
    "breadcrumbs-ties": "breadcrumbs:BreadcrumbsTies",
    "sce": "sce:Sce",
    "model-stock": "model_stock:ModelStock",
    "arcee-fusion": "arcee_fusion:ArceeFusion",
    "nearswap": "nearswap:NearSwap",
    "ram": "ram:Ram",
    "magmax": "magmax:MagMax",
    "consensus": "consensus:Consensus",
    "tsv-m": "tsv_m:TsvM",
    "iso-c": "iso_c:IsoC",
    "knots": "knots:Knots",
    "fisher": "fisher:Fisher",
    "regmean": "regmean:RegMean",
    "mats": "mats:Mats",
    "passthrough": "passthrough:Passthrough",
    "union-rows": "union_rows:UnionRows",
}
STRATEGIES: Registry[type[Strategy]] = Registry(
    "strategy",
    lazy={id_: f"theta.strategies.{home}" for id_, home in _HOMES.items()},
    group="theta.strategies",
)

__all__ = ["STRATEGIES", "ConflictKind", "Strategy"]
