"""Three texts, line by line: what each side changed of their base.

Owns the merge of lines (diff3: Khanna, Kunal and Pierce 2007) and where it fails. Pure; must not
know files nor encodings.

Where the base and both sides have the same lines, the texts are in step. Between two such places
a stretch that one side left alone becomes the other's; one that both changed is in conflict unless
they agree. As in git, changes of neighbouring lines are one change.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Comparisons of equal lines: a text of repeated lines could take for ever.
MOST = 20_000_000


@dataclass(frozen=True)
class Clash:
    """Lines that were changed in different ways; the number is of the first one in ours."""

    line: int


def merge_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> str | Clash:
    """Return the merged text, or where it fails first; a text too repetitive fails at once."""
    if _cost(base, ours) + _cost(base, theirs) > MOST:
        return Clash(1)
    made: list[str] = []
    at = (0, 0, 0)
    for in_step, size in _in_step(base, ours, theirs):
        old, one, two = (
            text[start:stop]
            for text, start, stop in zip((base, ours, theirs), at, in_step, strict=True)
        )
        if one in (old, two):
            made += two
        elif two == old:
            made += one
        else:
            return Clash(at[1] + 1)
        made += base[in_step[0] : in_step[0] + size]
        at = (in_step[0] + size, in_step[1] + size, in_step[2] + size)
    return "".join(made)


def _cost(one: Sequence[str], two: Sequence[str]) -> int:
    counts = Counter(two)
    return sum(counts[line] for line in one)


def _in_step(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield where all three have the same lines, and how many; last the end of all."""
    left, right = _matches(base, ours), _matches(base, theirs)
    one = two = 0
    while one < len(left) and two < len(right):
        (start, other, size), (begin, another, length) = left[one], right[two]
        low, high = max(start, begin), min(start + size, begin + length)
        if low < high:
            yield (low, other + low - start, another + low - begin), high - low
        if start + size < begin + length:
            one += 1
        else:
            two += 1
    yield (len(base), len(ours), len(theirs)), 0


def _matches(base: Sequence[str], side: Sequence[str]) -> list[tuple[int, int, int]]:
    matcher = SequenceMatcher(None, base, side, autojunk=False)
    return [(a, b, size) for a, b, size in matcher.get_matching_blocks() if size]
