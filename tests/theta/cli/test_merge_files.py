"""Plain files: JSON merges by key, text by line, the rest as a whole."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.theta.cli.conftest import Shell

README = "# A model\n\nIt is small.\n\nIt was trained.\n"


def _write(shell: Shell, files: dict[str, str | bytes | None]) -> None:
    for name, content in files.items():
        path = shell.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content)


def _fork(
    shell: Shell,
    base: dict[str, str | bytes | None],
    ours: dict[str, str | bytes | None],
    theirs: dict[str, str | bytes | None],
) -> Shell:
    _write(shell, base)
    shell("add", ".")
    shell("commit", "-m", "first")
    shell("switch", "-c", "rte")
    for message, files in (("theirs", theirs), ("ours", ours)):
        _write(shell, files)
        shell("add", ".")
        shell("commit", "-m", message)
        if message == "theirs":
            shell("switch", "main")
    return shell


def _json(**values: object) -> str:
    return json.dumps(values, indent=2) + "\n"


def _read(shell: Shell, name: str) -> str:
    return Path(shell.folder, name).read_text()


def test_json_merges_by_key_and_keeps_how_it_is_written(shell: Shell) -> None:
    base = {"a": 1, "deep": {"x": 1, "y": 1}, "eps": 1e-05}
    _fork(
        shell,
        {"config.json": json.dumps(base, indent=4)},
        {"config.json": json.dumps({**base, "a": 2}, indent=4)},
        {"config.json": json.dumps({**base, "deep": {"x": 1, "y": 2, "z": [1]}}, indent=4)},
    )
    answer = shell("merge", "rte", "--json").json
    assert [(r["path"], r["how"]) for r in answer["resolved"]] == [("config.json", "keys")]
    expected = {"a": 2, "deep": {"x": 1, "y": 2, "z": [1]}, "eps": 1e-05}
    assert _read(shell, "config.json") == json.dumps(expected, indent=4)
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


def test_a_key_that_both_changed_is_a_conflict_with_a_name(shell: Shell) -> None:
    _fork(
        shell,
        {"config.json": _json(deep={"x": 1}, b=1)},
        {"config.json": _json(deep={"x": 2}, b=1)},
        {"config.json": _json(deep={"x": 3}, b=9)},
    )
    assert "content  config.json::deep.x" in shell("merge", "rte", code=1).out
    why = shell("merge", "rte", "-s", "average", code=1).out
    assert "average does not settle keys of a file" in why
    shell("merge", "rte", "--rule", "config.json::deep.* theirs")
    assert _read(shell, "config.json") == _json(deep={"x": 3}, b=9)


def test_a_rule_of_attributes_for_a_whole_file(shell: Shell) -> None:
    _fork(
        shell,
        {"config.json": _json(a=1, b=1), ".thetaattributes": "config.json::* ours\n"},
        {"config.json": _json(a=2, b=1)},
        {"config.json": _json(a=3, b=9)},
    )
    shell("merge", "rte")
    assert _read(shell, "config.json") == _json(a=2, b=9)


def test_text_merges_by_line(shell: Shell) -> None:
    _fork(
        shell,
        {"README.md": README},
        {"README.md": README.replace("A model", "Our model")},
        {"README.md": README + "\nTheirs.\n"},
    )
    shell("merge", "rte")
    assert _read(shell, "README.md") == README.replace("A model", "Our model") + "\nTheirs.\n"


def test_a_line_that_both_changed_is_a_conflict_of_the_file(shell: Shell) -> None:
    _fork(
        shell,
        {"README.md": README},
        {"README.md": README.replace("small", "large")},
        {"README.md": README.replace("small", "huge")},
    )
    said = shell("merge", "rte", code=1).out
    assert "content  README.md  (line 3 was changed in different ways)" in said
    assert _read(shell, "README.md") == README.replace("small", "large")
    shell("merge", "rte", "--rule", "README.md::* theirs")
    assert _read(shell, "README.md") == README.replace("small", "huge")


@pytest.mark.parametrize("name", ["data.bin", "broken.json"])
def test_what_is_no_text_conflicts_as_a_whole(shell: Shell, name: str) -> None:
    parts = [b"\xff\x00" + bytes([n]) for n in range(3)]
    _fork(shell, {name: parts[0]}, {name: parts[1]}, {name: parts[2]})
    (conflict,) = shell("merge", "rte", "--json", code=1).json["conflicts"]
    assert (conflict["path"], conflict["name"], conflict["kind"]) == (name, None, "content")


def test_json_that_is_none_merges_by_line(shell: Shell) -> None:
    _fork(
        shell,
        {"x.json": "[1,\n2,\n3,\n4]\n"},
        {"x.json": "[0,\n2,\n3,\n4]\n"},
        {"x.json": "[1,\n2,\n3,\n5]\n"},
    )
    shell("merge", "rte")
    assert _read(shell, "x.json") == "[0,\n2,\n3,\n5]\n"


def test_json_in_a_style_of_its_own_keeps_its_lines(shell: Shell) -> None:
    text = '{\n  "a": [1, 2],\n\n  "b": 1,\n  "c": 1,\n  "d": 1\n}\n'
    _fork(
        shell,
        {"c.json": text},
        {"c.json": text.replace("[1, 2]", "[3]")},
        {"c.json": text.replace('"d": 1', '"d": 2')},
    )
    shell("merge", "rte")
    assert _read(shell, "c.json") == text.replace("[1, 2]", "[3]").replace('"d": 1', '"d": 2')


def test_two_folders_as_transformers_saves_them(shell: Shell) -> None:
    """They differ in ``_name_or_path``, in a line of the README, and in the weights."""
    from safetensors.numpy import save_file

    config = {"_name_or_path": "base", "hidden_size": 8, "vocab_size": 9}

    def files(path: str, line: str, value: float) -> dict[str, str | bytes | None]:
        model = shell.folder / "model" / "model.safetensors"
        model.parent.mkdir(exist_ok=True)
        save_file({"w": np.full(4, value, np.float32)}, model, metadata={"format": "pt"})
        return {
            "model/config.json": json.dumps(config | {"_name_or_path": path}, indent=2) + "\n",
            "model/README.md": README.replace("It was trained.", line),
        }

    _write(shell, files("base", "It was trained.", 0))
    shell("add", ".")
    shell("commit", "-m", "first")
    shell("switch", "-c", "rte")
    _write(shell, files("out/rte", "It was trained on RTE.", 4))
    shell("commit", "-m", "theirs")
    shell("switch", "main")
    _write(shell, files("out/mnli", "It was trained.", 2))
    shell("commit", "-m", "ours")
    answer = shell("merge", "rte", "-s", "average", "--json").json
    assert answer["state"] == "merged"
    assert answer["notices"] == ["model/config.json: _name_or_path is ours"]
    merged = json.loads(_read(shell, "model/config.json"))
    assert merged["_name_or_path"] == "out/mnli"
    assert "trained on RTE" in _read(shell, "model/README.md")
    assert shell.load("model/model.safetensors") == {"w": 3}
    assert shell("merge", "--replay", "HEAD", "--json").json["same"]


def test_an_octopus_of_documents(shell: Shell) -> None:
    _write(shell, {"c.json": _json(a=1, b=1, c=1), "t.txt": "1\n2\n3\n4\n5\n"})
    shell("add", ".")
    shell("commit", "-m", "first")
    for name, old, new in (("x", "1\n2", "x\n2"), ("y", "\n3\n", "\ny\n"), ("z", "\n5", "\nz")):
        shell("switch", "-c", name, "main")
        _write(
            shell,
            {
                "c.json": _json(**{"a": 1, "b": 1, "c": 1, name: 1}),
                "t.txt": "1\n2\n3\n4\n5\n".replace(old, new),
            },
        )
        shell("commit", "-m", name)
    shell("switch", "main")
    shell("merge", "x", "y", "z")
    assert _read(shell, "c.json") == _json(a=1, b=1, c=1, x=1, y=1, z=1)
    assert _read(shell, "t.txt") == "x\n2\ny\n4\nz\n"
