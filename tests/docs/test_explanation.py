"""What the pages of explanation name is there."""

import re
import runpy
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, name, pages, prose

LAWS = DOCS / "explanation" / "laws.md"
_TEST = re.compile(r"`((?:tests/[\w/.-]+\.py)?)(?:::(\w+))?`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")


def _named_tests(text: str) -> list[tuple[str, str]]:
    """Return (file, function) of every test named; ``::name`` alone is in the file before it."""
    found, file = [], ""
    for path, function in _TEST.findall(text):
        file = path or file
        if path or function:
            found.append((file, function))
    return found


def test_every_law_names_its_tests_and_they_exist() -> None:
    laws = re.split(r"^## \d\. ", LAWS.read_text(), flags=re.MULTILINE)[1:]
    assert len(laws) == 9
    for law in laws:
        tests = _named_tests(law)
        assert tests or "Not yet" in law
        for file, function in tests:
            text = (ROOT / file).read_text()
            assert not function or f"def {function}(" in text, (file, function)


def test_the_layers_are_those_that_are_enforced() -> None:
    generator = runpy.run_path(str(DOCS / "generate_layers.py"))
    page = DOCS / "explanation" / "architecture.md"
    told = (
        "docs/explanation/architecture.md is not what pyproject.toml says any more. Run: make docs"
    )
    assert page.read_text() == generator["page"](), told


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(prose(page.read_text())):
        if target.startswith("http"):
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), f"{name(page)} links to {target}"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path.read_text()), f"{name(page)} links to {target}#{anchor}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_files_named_in_code_exist(page: Path) -> None:
    folders = "tests|docs|theta|theta_store|benchmarks"
    for path in re.findall(
        rf"`((?:{folders})/[\w/.-]+(?:/|\.(?:py|md|hex|json)))`", page.read_text()
    ):
        assert (ROOT / path).exists(), f"{name(page)} names {path}"
