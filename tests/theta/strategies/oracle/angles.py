"""What mergekit 0.1.5 makes of sides, in float64 or float32.

Runs only where mergekit is installed; see ``make_golden_angles.py`` for the values that are kept.
"""

import numpy as np
import torch
from mergekit.merge_methods import merge_tensors

from tests.theta.strategies.angle_cases import Case
from tests.theta.strategies.branches import Branches
from theta.strategies.values import Floats


def mergekit(case: Case, branches: Branches, kind: type[np.floating] = np.float64) -> Floats:
    """Merge by mergekit, computing in this dtype."""
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in case.theirs.items()
    }
    terms = [branches.base] if case.base else []
    terms += branches.sides[: 1 if case.method == "passthrough" else case.count]
    tensors = [torch.from_numpy(term.astype(kind)) for term in terms]
    # These take the first of two sides for their base.
    first = case.base or case.method in {"slerp", "arcee_fusion", "nearswap"}
    base_index = 0 if first else None
    return merge_tensors(tensors, case.method, base_index=base_index, parameters=given).numpy()
