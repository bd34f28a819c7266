"""theta: version control for the parameters of machine-learning models.

Owns the public names of the Python API; they are imported when first used, so that
``import theta`` costs nothing. Must not hold code of its own.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theta import keep as keep
    from theta.repo import Author as Author
    from theta.repo import Details as Details
    from theta.repo import Repo as Repo

__version__ = "0.1.0"
__all__ = ["Author", "Details", "Repo", "__version__", "init", "keep", "open", "open_or_init"]


def __getattr__(name: str) -> Any:
    if name in {"Repo", "Author", "Details"}:
        from theta import repo

        return getattr(repo, name)
    if name == "keep":
        return importlib.import_module("theta.keep")
    raise AttributeError(f"module 'theta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def open(path: str = ".") -> "Repo":  # noqa: A001 - theta.open reads best
    """Open the repository of a folder or of the nearest one above it."""
    from pathlib import Path

    from theta.repo import Repo

    return Repo.open(Path(path))


def init(path: str = ".") -> "Repo":
    """Make a repository in a folder, or open the one that is there."""
    from pathlib import Path

    from theta.repo import Repo

    return Repo.init(Path(path))


def open_or_init(path: str = ".") -> "Repo":
    """Open the repository of exactly this folder; make it if there is none."""
    return init(path)
