"""What has been recognised about a change.

Owns the value that every kind of recognition answers with. Must not know any kind.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One recognised fact.

    ``kind`` is a stable word, ``text`` what people read. ``amount`` is the number that the fact
    is about (a rank, a factor, a count of rows), None where there is none; ``exact`` is False
    where the fact holds only about.
    """

    kind: str
    text: str
    amount: float | None = None
    exact: bool = True
