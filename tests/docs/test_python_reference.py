"""The examples of the Python reference run, in order, and its list of methods is whole."""

import doctest
import runpy
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

PAGE = DOCS / "reference" / "python.md"


def test_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    parser, said = doctest.DocTestParser(), list[str]()
    # A fence would be read as output.
    text = PAGE.read_text().replace("```", "\n")
    test = parser.get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 40
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_the_list_of_methods_is_what_the_docstrings_say() -> None:
    generator = runpy.run_path(str(DOCS / "generate_python.py"))
    told = "docs/reference/python.md is not what the docstrings say any more. Run: make docs"
    assert PAGE.read_text() == generator["page"](), told
