"""The page about storage shows the figures of the last run of the benchmark, no others."""

from tests.docs.pages import DOCS, ROOT, table

PAGE = (DOCS / "explanation" / "storage.md").read_text()
RESULTS = (ROOT / "benchmarks" / "results" / "storage_sizes.md").read_text()


def _rows(text: str, first: str) -> dict[str, dict[str, str]]:
    """Return the rows of the first table whose head begins with ``first``."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows[1:]}


def test_the_figures_are_those_of_the_results() -> None:
    for first in ("commit", "history"):
        said, measured = _rows(PAGE, first), _rows(RESULTS, first)
        assert len(said) >= 6
        for name, row in said.items():
            assert row.items() <= measured[name].items(), name


def test_the_readme_shows_the_end_of_the_talks_history() -> None:
    last = _rows(RESULTS, "commit")["trim"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    for column in ("plain copy", "theta fast", "git-theta", "BitX"):
        assert f"{float(last[column]):.1f}" in readme, column
    assert table(PAGE, "## What theta looks for")
