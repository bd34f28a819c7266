"""Three texts, line by line: laws of the merge, and git's answer as the judge."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theta.merge.text_lines import Clash, merge_lines

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "\n"]), max_size=8)


@given(LINES, LINES)
def test_who_changed_nothing_gives_way(base: list[str], side: list[str]) -> None:
    assert merge_lines(base, side, base) == "".join(side)
    assert merge_lines(base, base, side) == "".join(side)
    assert merge_lines(base, side, side) == "".join(side)


@given(LINES, LINES, LINES)
def test_the_order_of_sides_is_immaterial(base: list[str], one: list[str], two: list[str]) -> None:
    left, right = merge_lines(base, one, two), merge_lines(base, two, one)
    assert isinstance(left, Clash) == isinstance(right, Clash)
    if isinstance(left, str):
        assert left == right


@given(st.integers(0, 9), st.integers(0, 9))
def test_changes_that_are_apart_are_both_kept(one: int, two: int) -> None:
    base = [f"{n}\n" for n in range(10)]
    ours, theirs, both = base.copy(), base.copy(), base.copy()
    ours[one] = both[one] = "ours\n"
    theirs[two] = both[two] = "theirs\n"
    merged = merge_lines(base, ours, theirs)
    if abs(one - two) > 1:
        assert merged == "".join(both)
    else:
        assert isinstance(merged, Clash)
        assert merged.line == min(one, two) + 1


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_git_merges_the_same(data: st.DataObject) -> None:
    """Lines that differ, so that there is one way only to see what was changed."""
    base = [f"{n}\n" for n in range(8)]

    def side(mark: str) -> list[str]:
        places = data.draw(st.sets(st.integers(0, 7), max_size=3))
        gone = data.draw(st.sets(st.integers(0, 7), max_size=1)) - places
        lines = [f"{mark}{n}\n" if n in places else line for n, line in enumerate(base)]
        return [line for n, line in enumerate(lines) if n not in gone]

    ours, theirs = side("x"), side("y")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("ours", "base", "theirs")]
        for path, lines in zip(paths, (ours, base, theirs), strict=True):
            path.write_text("".join(lines))
        done = subprocess.run(
            ["git", "merge-file", "-p", *map(str, paths)], capture_output=True, text=True
        )
    merged = merge_lines(base, ours, theirs)
    assert isinstance(merged, Clash) == (done.returncode != 0)
    if isinstance(merged, str):
        assert merged == done.stdout


def test_a_text_that_would_take_for_ever_is_refused() -> None:
    same = ["\n"] * 20_000
    assert isinstance(merge_lines(same, [*same, "a\n"], ["b\n", *same]), Clash)
