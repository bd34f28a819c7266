"""The page about the format shows the golden files, and says what the code does."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from tests.docs.pages import DOCS, ROOT, Block, blocks, table
from theta.formats import builtin_formats, container_names
from theta.formats import layout as layouts
from theta.formats.layout import decode_layout
from theta_store import chunking, forms, records
from theta_store.codecs import BUILTIN, RESIDUAL, exact
from theta_store.db import Table
from theta_store.dtypes import DTYPES, dtype
from theta_store.encoding import KIND_BYTES, decode
from theta_store.forms import decode_form
from theta_store.kept import CODECS, PREDICTORS
from theta_store.sealed import seal

GOLDEN = ROOT / "tests" / "golden"
PAGE = (DOCS / "reference" / "format.md").read_text()


def _golden(where: str) -> bytes:
    """Return a golden example: a file, and after ``#`` a key or the number of a line."""
    path, _, part = where.partition("#")
    text = (GOLDEN / path).read_text()
    if path.endswith(".json"):
        text = json.loads(text)[part]["bytes"]
    elif part:
        text = text.split()[int(part)]
    return bytes.fromhex(text)


def _bytes(block: Block) -> bytes:
    """Return the bytes that a block shows on the left of ``|``."""
    left = " ".join(line.partition("|")[0] for line in block.text.splitlines())
    repeated = re.sub(r"\b([0-9a-f]{2})\*(\d+)", lambda m: m[1] * int(m[2]), left)
    return bytes.fromhex(repeated)


def _shown(language: str) -> dict[str, Block]:
    return {" ".join(block.words[1:]): block for block in blocks(PAGE, language)}


@pytest.mark.parametrize("where", _shown("golden"))
def test_the_example_is_the_golden_file(where: str) -> None:
    assert _bytes(_shown("golden")[where]) == _golden(where)


@pytest.mark.parametrize("where", _shown("golden-head"))
def test_the_example_is_how_the_golden_file_begins(where: str) -> None:
    assert _golden(where).startswith(_bytes(_shown("golden-head")[where]))


@pytest.mark.parametrize("where", _shown("decoded"))
def test_the_example_decodes_as_described(where: str) -> None:
    names: dict[str, object] = {
        name: found
        for module in (records, layouts, forms)
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, msgspec.Struct)
    }
    names["id"] = lambda byte: bytes([byte]) * 32
    described = eval(_shown("decoded")[where].text, names)
    data = _golden(where)
    if where.startswith("records"):
        assert decode(data) == described
    elif where.startswith(("layouts", "formats")):
        assert decode_layout(data) == described
    else:
        assert decode_form(data) == described


def test_no_golden_file_is_forgotten() -> None:
    shown = {w.partition("#")[0] for w in (*_shown("golden"), *_shown("golden-head"))}
    for path in GOLDEN.rglob("*"):
        if path.is_file():
            name = path.relative_to(GOLDEN).as_posix()
            # Named as a folder: there is one for every predictor and codec, and every strategy.
            top = f"{name.partition('/')[0]}/"
            where = top if top in {"forms/", "strategies/"} else name
            assert name in shown or f"tests/golden/{where}" in PAGE, name


def test_the_dtypes() -> None:
    said = [
        (name, kind, int(b), int(n), int(w)) for name, kind, b, n, w in table(PAGE, "## Dtypes")
    ]
    assert said == [(r.name, r.kind, r.block, r.nbytes, r.width) for r in DTYPES.values()]


def test_the_chunk_rule() -> None:
    for name, shape, unit, size, count in table(PAGE, "## Chunks"):
        given = (dtype(name), tuple(json.loads(f"[{shape.strip('(),')}]")))
        assert chunking.unit_bytes(*given) == int(unit)
        assert chunking.chunk_bytes(*given) == int(size)
        assert len(chunking.split(name, given[1])) == int(count)


def test_the_kinds_of_records_and_their_fields() -> None:
    said = {
        int(byte): (kind, fields.split(", ")) for byte, kind, fields in table(PAGE, "## Records")
    }
    assert said == {
        byte: (record.kind, list(record.__struct_fields__)) for record, byte in KIND_BYTES.items()
    }


def _containers(value: object) -> object:
    if isinstance(value, dict):
        return container_names.Mapping([(k, _containers(v)) for k, v in value.items()])
    if isinstance(value, list):
        return container_names.Items([_containers(item) for item in value])
    return value


def _saved() -> list[list[str]]:
    below = PAGE.partition("## Formats and names")[2]
    return table(f"\n#\n{below[below.index('| saved object') :]}", "#")


def test_the_formats() -> None:
    said = [
        (name, int(version), tuple(suffixes.split()))
        for name, version, suffixes, _ in table(PAGE, "## Formats and names")
    ]
    assert said == [(f.id, f.version, f.suffixes) for f in builtin_formats()]


def test_the_names_of_parameters() -> None:
    tensor = container_names.TooDeep()
    for saved, names in _saved():
        root = _containers(eval(saved, {"T": tensor}))
        found = container_names.walk(root, container_names.TooDeep, limit=100)
        assert " ".join(name for name, _ in found) == names


def test_the_segments_of_a_layout() -> None:
    said = {
        name: (int(tag), fields.split(", ")) for tag, name, fields, _ in table(PAGE, "## Layouts")
    }
    assert said == {
        name: (kind.__struct_config__.tag, list(kind.__struct_fields__))
        for name in ("Literal", "Span", "Scatter", "Computed", "Named")
        for kind in [getattr(layouts, name)]
    }
    assert (layouts.KIND_BYTE, layouts.VERSION) == (7, 1)


def test_the_fields_of_a_form_row() -> None:
    said = [row[0] for row in table(PAGE, "## Form rows")]
    assert said == list(forms.Form.__struct_fields__)


def test_the_codecs() -> None:
    said = [(int(n), name, int(version)) for n, name, version, _ in table(PAGE, "## Codecs")]
    known = [(codec.number, codec.id, codec.version) for codec in (*BUILTIN, *RESIDUAL)]
    assert said == [*known, (exact.NUMBER, CODECS[exact.NUMBER], exact.VERSION)]


def test_the_predictors() -> None:
    said = {int(number): name for number, name, _, _ in table(PAGE, "## Predictors")}
    assert said == PREDICTORS


def test_the_tables() -> None:
    assert [row[0] for row in table(PAGE, "## Tables of meta")] == [t.value for t in Table]


def test_the_seal_of_a_ref() -> None:
    ((where, block),) = _shown("seal").items()
    name, key = where.split()
    sealed = seal(name, key.encode(), _bytes(block))
    assert f"and its seal: `{sealed[:8].hex()}`" in PAGE


def test_the_seal_of_the_operation() -> None:
    data = _golden("operation.hex")
    assert seal(Table.OPERATIONS, (1).to_bytes(8, "big"), data[8:]) == data
    assert len(msgspec.msgpack.decode(data[9:])) == 13


def test_the_files_of_a_repository(tmp_path: Path) -> None:
    from theta.repo import Author, Repo

    (tmp_path / "a.bin").write_bytes(b"abc")
    with Repo.init(tmp_path) as repo:
        repo.add(["a.bin"])
        repo.config.set("user.name", "Ada")
        repo.commit("one", author=Author("Ada"))
        said = {row[0] for row in table(PAGE, "## The folder of a repository")}
        assert {f".theta/{path.name}" for path in repo.private.iterdir()} <= {
            s.rstrip("/") for s in said
        }
        assert {path.name for path in (repo.private / "store").iterdir()} <= {
            "meta",
            "volumes",
            "leases",
        }
        repo.gc()
        assert (repo.private / "store" / "gc.lock").exists()
