"""Guards: what a commit may be refused for.

Owns the guards by name and the scan of new values for NaN and infinities. Must not know refs, the
workspace, nor what happens to a commit that is refused. Tensors are read from the store, in
parallel, a chunk at a time.
"""

from collections.abc import Mapping

import msgspec

from theta.checkpoint import named_leaves
from theta.progress import Progress
from theta_store.dtypes import DType, dtype
from theta_store.errors import UsageError
from theta_store.ids import TensorId
from theta_store.records import Tensor, TreeEntry
from theta_store.store import Store

Entries = Mapping[str, TreeEntry]

GUARDS = ("finite",)
E8M0_NAN = 0xFF


def check_guard(name: str) -> None:
    """Refuse the name of a guard that does not exist."""
    if name not in GUARDS:
        raise UsageError(f"there is no guard {name!r}", hint=f"guards: {', '.join(GUARDS)}")


def non_finite(store: Store, before: Entries, after: Entries, progress: Progress) -> list[str]:
    """Return, as ``FILE::PARAM``, the floating parameters that are new and hold NaN or infinity.

    New are tensors that no checkpoint of ``before`` has; only those are read.
    """
    new = _new(store, before, after)
    found = {id_: store.tensor(id_) for id_ in new}
    scans = {id_: _Scan(dtype(t.dtype)) for id_, t in found.items() if _can_be_bad(dtype(t.dtype))}
    todo: list[tuple[Tensor, _Scan]] = [(found[id_], scan) for id_, scan in scans.items()]
    progress.begin("looking for NaN", sum(tensor.nbytes for tensor, _ in todo))
    store.read_into(todo, progress=progress.advance)
    return sorted(name for id_, scan in scans.items() if scan.bad for name in new[id_])


def _new(store: Store, before: Entries, after: Entries) -> dict[TensorId, list[str]]:
    changed = {p: e for p, e in after.items() if e.kind == "checkpoint" and before.get(p) != e}
    known: set[TensorId] = set()
    if changed:
        for entry in before.values():
            if entry.kind == "checkpoint":
                known.update(named_leaves(store, entry).values())
    found: dict[TensorId, list[str]] = {}
    for path, entry in changed.items():
        for name, id_ in named_leaves(store, entry).items():
            if id_ not in known:
                found.setdefault(id_, []).append(f"{path}::{name}")
    return found


def _can_be_bad(row: DType) -> bool:
    return row.kind in {"float", "complex"}


class _Scan(msgspec.Struct):
    """Takes a tensor's bytes as they come; setting ``bad`` from several threads is harmless."""

    row: DType
    bad: bool = False

    def write(self, start: int, plain: memoryview) -> None:  # noqa: ARG002 - a sink's signature
        """Look at the bytes at ``start``; chunks hold whole elements."""
        if not self.bad and not is_finite(plain, self.row):
            self.bad = True


def is_finite(plain: memoryview, row: DType) -> bool:
    """Say whether no element is NaN or infinite, in either part of a complex number."""
    import numpy as np

    from theta_store.arithmetic import is_computable, widen

    if row.kind == "complex":
        return bool(np.isfinite(np.frombuffer(plain, f"<f{row.width}")).all())
    if is_computable(row):
        return bool(np.isfinite(widen(plain, row)).all())
    # Of the floats only F8_E8M0 is left: it has no sign, no infinity and one NaN.
    return not bool((np.frombuffer(plain, np.uint8) == E8M0_NAN).any())
