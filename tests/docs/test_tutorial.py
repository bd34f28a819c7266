"""The tutorial and the how-to pages, typed along in a real bash with the real theta."""

from pathlib import Path

import pytest

from tests.docs import transcript
from tests.docs.pages import DOCS, name

PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_the_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    transcript.check(page, tmp_path)


def test_the_tutorial_goes_all_the_way() -> None:
    steps = transcript.commands((DOCS / "tutorial.md").read_text())
    verbs = {
        s.line.split()[1] for s in steps if isinstance(s, transcript.Command) and "theta" in s.line
    }
    assert verbs >= {"init", "add", "commit", "status", "diff", "log", "switch", "merge"}
    assert verbs >= {"undo", "redo", "restore", "du", "export", "fsck"}


def test_a_wrong_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for number, (shown, told) in enumerate(
        [("hello", "output"), ("1234567890 abcdefabcd 1234567890", "ids"), ("", "code")]
    ):
        line = ["echo bye", "echo 0987654321 fedcbafedc fedcbafedc", "false"][number]
        page.write_text(f"```console\n$ {line}\n{shown}\n```\n")
        folder = tmp_path / told
        folder.mkdir()
        with pytest.raises(AssertionError):
            transcript.check(page, folder)
