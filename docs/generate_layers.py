"""Write the tables of layers in ``docs/explanation/architecture.md``.

``python docs/generate_layers.py``. The layers are those of import-linter in ``pyproject.toml``;
what a module is for is the first line of its docstring.
"""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "explanation" / "architecture.md"
_TABLE = re.compile(r"(<!-- layers (\S+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def page() -> str:
    """Return the page with fresh tables."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = {c["containers"][0]: c["layers"] for c in contracts if c["type"] == "layers"}
    text = PAGE.read_text()
    assert {found[2] for found in _TABLE.finditer(text)} == layers.keys(), "a package is left out"
    return _TABLE.sub(lambda found: found[1] + _table(found[2], layers[found[2]]) + found[3], text)


def _table(package: str, layers: list[str]) -> str:
    lines = ["", "| layer | modules |", "|---|---|"]
    for number, layer in enumerate(reversed(layers), 1):
        cells = [f"`{name}`: {_purpose(package, name)}" for name in layer.split(" | ")]
        lines.insert(3, f"| {number} | {'<br>'.join(cells)} |")
    return "\n".join([*lines, "", ""])


def _purpose(package: str, name: str) -> str:
    path = ROOT.joinpath(*package.split("."), name)
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = text.partition("\n\n")[0].replace("\n", " ").replace("``", "`").replace("|", "\\|")
    return first.rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(page())
