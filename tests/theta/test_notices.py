"""Notices: one line per text, however many files it is about."""

from theta.workspace.notices import Notice, lines


def test_a_line_per_text_in_the_order_of_the_first() -> None:
    notices = [Notice("odd", "a"), Notice("alone"), Notice("new", "b"), Notice("odd", "c")]
    assert lines(notices) == ["a, c: odd", "alone", "b: new"]
    assert lines([]) == []


def test_few_paths_are_named() -> None:
    notices = [Notice("odd", f"{number}") for number in range(9)]
    assert lines(notices) == ["0, 1, 2, 3, 4 and 4 more: odd"]
    assert lines(notices[:5]) == ["0, 1, 2, 3, 4: odd"]
