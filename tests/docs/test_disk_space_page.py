"""The page about disk space shows figures of the last run of the benchmark, no others."""

from tests.docs.pages import DOCS, ROOT, table

PAGE = (DOCS / "how-to" / "save-disk-space.md").read_text()
RESULTS = (ROOT / "benchmarks" / "results" / "storage_sizes.md").read_text()
HEADING = "## Bytes per added commit, in % of the plain file"


def test_the_figures_are_those_of_the_results() -> None:
    head = RESULTS[RESULTS.index("| history |") :].split("\n", 1)[0]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    measured = {row[0]: dict(zip(names, row, strict=True)) for row in table(RESULTS, HEADING)}
    said = table(PAGE, "## What to expect")
    assert len(said) >= 6
    for history, fast, repacked in said:
        row = measured[history]
        assert (fast, repacked) == (row["theta fast"], row["theta repacked"]), history
