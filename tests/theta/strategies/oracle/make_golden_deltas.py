"""Write what mergekit 0.1.5 and PEFT answer to ``tests/golden/strategies/deltas.json``.

Run by hand: ``PYTHONPATH=. python tests/theta/strategies/oracle/make_golden_deltas.py`` under a
Python that has mergekit. Numbers are the bytes of float32, little-endian, in hex.
"""

import json
from pathlib import Path

from tests.theta.strategies.delta_cases import CASES, SHAPES, branches_of, fingerprint
from tests.theta.strategies.oracle.deltas import answer

GOLDEN = Path("tests/golden/strategies/deltas.json")


def main() -> None:
    terms = [branches_of(place) for place in range(len(SHAPES))]
    kept = {
        "inputs": [fingerprint(branches) for branches in terms],
        "answers": {
            case.label: [answer(case, branches).astype("<f4").tobytes().hex() for branches in terms]
            for case in CASES
        },
    }
    GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
