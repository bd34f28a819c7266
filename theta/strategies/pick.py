"""``ours``, ``theirs`` and ``base``: one term as it is.

Owns the three picking strategies. They need no values.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pick:
    """Take one term, whatever the conflict is."""

    id: str

    @property
    def label(self) -> str:
        """Which term it takes."""
        return self.id


OURS, THEIRS, BASE = Pick("ours"), Pick("theirs"), Pick("base")
