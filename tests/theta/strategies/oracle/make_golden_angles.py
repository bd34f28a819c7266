"""Writes ``tests/golden/strategies/angles.json``: what mergekit makes of each case.

Run by hand where mergekit is installed:
``PYTHONPATH=. python tests/theta/strategies/oracle/make_golden_angles.py``
"""

import json
from pathlib import Path

import numpy as np

from tests.theta.strategies.angle_cases import CASES, SHAPES, branches_of
from tests.theta.strategies.oracle.angles import mergekit

GOLDEN = Path("tests/golden/strategies/angles.json")


def main() -> None:
    values = {
        f"{case.label} base={case.base} {SHAPES[place]}": mergekit(case, branches_of(place))
        .astype("<f4")
        .tobytes()
        .hex()
        for case in CASES
        for place in range(len(SHAPES))
    }
    made = {"mergekit": "0.1.5", "numpy": np.__version__, "float32": values}
    GOLDEN.write_text(json.dumps(made, indent=0) + "\n")


if __name__ == "__main__":
    main()
