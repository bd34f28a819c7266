"""What somebody else wrote, as it may be shown."""

import os

import pytest

from theta.escapes import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("encoder.0.weight", "encoder.0.weight"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\rc\td\x00\x7f", "a\\nb\\rc\\td\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\u2028b\ufeff", "a\\u2028b\\ufeff"),
        ("\ud800", "\\ud800"),
        (os.fsdecode(b"caf\xe9.pt"), "caf\\xe9.pt"),
    ],
)
def test_what_acts_on_a_terminal_is_spelled(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert escaped(shown) == shown


@pytest.mark.parametrize("text", ["重み", "θ × –", "क्\u200dष", "👩\u200d👧", "a\u00a0b\u3000c"])
def test_letters_of_any_script_stay(text: str) -> None:
    assert escaped(text) == text


def test_a_long_name_is_cut() -> None:
    assert escaped("x" * 30, 30) == "x" * 30
    assert escaped("x" * 31, 30) == "x" * 30 + "…"
    assert escaped("\x1b" * 3, 2) == "\\x1b\\x1b…"
