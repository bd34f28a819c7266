"""What the toy merges scored, seed by seed.

Owns these values and their JSON. Must not train or merge anything.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, stdev

SPLIT, SHIFT = "split", "shift"
BRANCHES = ("branch 0", "branch 1")
AVERAGE = "average"


@dataclass
class Scores:
    """Accuracies in percent, one for each seed.

    ``merges``: of a scenario and a rule, or a branch. ``sweeps``: of a scenario, a rule and the
    text of its λ. ``experts``: of a network that was trained on four kinds of images.
    """

    facts: dict[str, str]
    merges: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    experts: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rules(self) -> list[str]:
        """The rules that were merged by, in the order of the runs."""
        return [name for name in self.merges[SPLIT] if name not in BRANCHES]

    def better(self, scenario: str, rule: str) -> int:
        """Return for how many seeds a rule scored more than the average."""
        found = self.merges[scenario]
        return sum(a > b for a, b in zip(found[rule], found[AVERAGE], strict=True))

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


def spelled(scores: Sequence[float]) -> str:
    """Return mean ± standard deviation (of a sample)."""
    return f"{mean(scores):.1f} ± {stdev(scores):.1f}" if len(scores) > 1 else f"{scores[0]:.1f}"
