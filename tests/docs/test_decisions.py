"""The decision records say of the dependencies what their metadata says."""

import re
import tomllib
from importlib import metadata

from tests.docs.pages import DOCS, ROOT, table
from theta.cli import VERBS
from theta.config import KNOWN

RECORDS = sorted((DOCS / "decisions").glob("[0-9]*.md"))


def _licences(package: str) -> set[str]:
    found = metadata.metadata(package)
    classifiers = [c for c in found.get_all("Classifier") or [] if c.startswith("License")]
    return {
        found.get("License-Expression", ""),
        found.get("License", ""),
        *(c.rpartition(" :: ")[2] for c in classifiers),
    }


def _kind(package: str) -> str:
    wheel = metadata.distribution(package).read_text("WHEEL") or ""
    return "pure" if "Root-Is-Purelib: true" in wheel else "binary"


def test_the_dependencies_with_their_licences_and_wheels() -> None:
    rows = table((DOCS / "decisions" / "0001-dependencies.md").read_text(), "## Decision")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[><=]", line)[0] for line in project["dependencies"]]
    assert sorted(row[0] for row in rows) == sorted(wanted)
    for package, licence, wheel, _, _ in rows:
        assert licence in _licences(package), package
        assert wheel == _kind(package), package


def test_the_records_are_numbered_and_have_their_parts() -> None:
    for number, path in enumerate(RECORDS, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in text, (path.name, part)


def test_what_is_said_not_to_be_there_is_not_there() -> None:
    text = (DOCS / "decisions" / "0008-what-differs-from-the-design.md").read_text()
    missing = text.partition("not there yet\n")[2].partition(". Strategies")[0]
    verbs = set(re.findall(r"`(\w[\w-]*)`", missing))
    assert len(verbs) > 10
    assert not verbs & VERBS.keys()
    source = "".join(path.read_text() for path in (ROOT / "theta").rglob("*.py"))
    unused = {key for key in KNOWN if source.count(f'"{key}"') == 1}
    assert {key for key in unused if f"`{key}`" in text} == unused
