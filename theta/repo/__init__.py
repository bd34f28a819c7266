"""A repository: one method per thing a user does.

Owns the public names of the package; each is imported when first used, since a verb that only
looks needs a small part. Must not know the terminal nor the environment: who the author is and
where work is reported are arguments.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theta.conversion import Conversion
    from theta.repo.looking import Looking
    from theta.repo.values import (
        Author,
        Collected,
        Committed,
        Details,
        MergeAnswer,
        Moved,
        Restored,
        Status,
        Undone,
    )
    from theta.repo.whole import Repo

__all__ = [
    "Author",
    "Collected",
    "Committed",
    "Conversion",
    "Details",
    "Looking",
    "MergeAnswer",
    "Moved",
    "Repo",
    "Restored",
    "Status",
    "Undone",
]

_HOMES = {"Conversion": "theta.conversion", "Looking": "theta.repo.looking"}
_HOMES["Repo"] = "theta.repo.whole"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'theta.repo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "theta.repo.values")), name)
