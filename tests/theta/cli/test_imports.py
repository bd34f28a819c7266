"""What each verb imports: torch never, numpy and rich only where they are needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from theta.repo import Author, Repo

ADA = Author("Ada <ada@example.org>")
DRIVER = """
import sys
from theta.__main__ import main
try:
    main()
finally:
    sys.stderr.write("\\n" + " ".join(sys.modules))
"""
DATACLASSES = """
import sys
from theta.__main__ import main
try:
    main()
finally:
    made = {
        f"{kind.__module__}.{kind.__qualname__}"
        for name, module in list(sys.modules.items()) if name.startswith("theta")
        for kind in vars(module).values()
        if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")
    }
    sys.stderr.write("\\n" + " ".join(made))
"""
HEAVY = frozenset(
    {"torch", "numpy", "rich", "zstandard", "tomlkit", "asyncio", "pathspec", "pydantic"}
)
# Locks are for those who write, threads for those who read or write payload.
WRITING = frozenset(
    {"filelock", "concurrent.futures", "theta_store.codecs"}
    | {"theta_store.session", "theta_store.tensors", "theta_store.payloads", "theta_store.leases"}
)
# What a few options, a configuration file or an editor need.
RARE = frozenset(
    {"theta.repo.whole", "theta.selection", "theta.compare", "theta.conversion", "theta.blame"}
    | {"tomllib", "getpass", "tempfile", "logging", "hashlib", "random"}
)
LIGHT = (
    "log",
    "log --oneline -n 1",
    "log --graph",
    "log --json",
    "status",
    "status --json",
    "branch",
    "branch --json",
    "tag",
    "op log",
    "show",
    "undo --dry-run",
    "log --help",
    "log --unknown",
)
READING = ("ls", "ls HEAD:m.safetensors", "cat HEAD::w", "diff", "diff HEAD~1 HEAD", "du", "fsck")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose file the stat cache can trust."""
    folder = tmp_path_factory.mktemp("work")
    path = folder / "m.safetensors"
    with Repo.init(folder) as repo:
        for seed in (1, 2):
            values = np.random.default_rng(seed).standard_normal((40, 50), np.float32)
            save_file({"w": values}, path)
            os.utime(path, (1_700_000_000 + seed, 1_700_000_000 + seed))
            repo.add(["m.safetensors"])
            repo.commit(f"seed {seed}", author=ADA)
        repo.create_branch("other")
        repo.create_tag("v1")
    return folder


def _modules(folder: Path, command: str) -> tuple[int, set[str]]:
    return _printed(folder, DRIVER, command)


def _printed(folder: Path, driver: str, command: str) -> tuple[int, set[str]]:
    """Run a command by a driver; return its code and the words of the last line on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", driver, *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "THETA_CONFIG": "nowhere.toml"},
    )
    return done.returncode, set(done.stderr.rsplit("\n", 1)[1].split())


@pytest.mark.parametrize("command", LIGHT)
def test_a_verb_that_reads_no_values_imports_nothing_heavy(folder: Path, command: str) -> None:
    code, modules = _modules(folder, command)
    assert code == (2 if "unknown" in command else 0)
    assert "typer" in modules
    assert not modules & (HEAVY | WRITING | RARE)
    assert "json" not in modules or "--json" in command


@pytest.mark.parametrize("command", ["log", "log --json", "branch", "tag", "op log"])
def test_a_verb_that_looks_at_no_file_imports_no_workspace(folder: Path, command: str) -> None:
    code, modules = _modules(folder, command)
    assert code == 0
    assert "theta.workspace" not in modules


@pytest.mark.parametrize("command", ["commit -m same", "diff", "restore .", "export HEAD out/"])
def test_a_verb_that_works_imports_no_other(folder: Path, command: str) -> None:
    code, modules = _modules(folder, command)
    assert code == (1 if "commit" in command else 0)
    verbs = {"applying", "blaming", "care", "committing", "comparing", "composing", "exporting"}
    verbs |= {"looking", "merging", "moving", "picking", "repacking", "restoring", "searching"}
    own = {name.removeprefix("theta.repo.") for name in modules} & (verbs | {"whole"})
    assert len(own) == 1, own
    assert not modules & {"tempfile", "tomllib", "torch", "rich"}


@pytest.mark.parametrize("command", [*LIGHT, "commit -m same", "diff", "restore .", "ls"])
def test_what_every_verb_imports_makes_no_dataclass(folder: Path, command: str) -> None:
    """Its methods are compiled when it is imported: forty times the cost of a Struct."""
    made = _printed(folder, DATACLASSES, command)[1]
    if command == "ls":  # its file sizes are in layouts, which are stored in chunks
        made = {name for name in made if not name.startswith(("theta.formats.", "theta_store."))}
    assert not made


def test_the_test_sees_dataclasses(folder: Path) -> None:
    assert "theta_store.gc.GcReport" in _printed(folder, DATACLASSES, "gc --dry-run")[1]


def test_a_commit_of_nothing_new_takes_no_lock(folder: Path) -> None:
    code, modules = _modules(folder, "commit -m same")
    assert code == 1
    assert not modules & (HEAVY | WRITING)


@pytest.mark.parametrize(("command", "wanted"), [("commit -m same", 1), ("status", 0)])
def test_a_look_at_shards_imports_nothing_that_reads_them(
    tmp_path: Path, command: str, wanted: int
) -> None:
    weights = {}
    for name in ("a", "b"):
        path = tmp_path / f"m-{name}.safetensors"
        save_file({name: np.ones(3, np.float32)}, path)
        weights[name] = path.name
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for path in tmp_path.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    with Repo.init(tmp_path) as repo:
        repo.add(["."])
        repo.commit("all", author=ADA)
    code, modules = _modules(tmp_path, command)
    assert code == wanted
    heavy = modules & (HEAVY | WRITING | {"theta.formats.base"})
    assert not heavy


@pytest.mark.parametrize("command", ["--version", "-V"])
def test_the_version_is_told_before_typer_is_imported(folder: Path, command: str) -> None:
    code, modules = _modules(folder, command)
    assert code == 0
    assert not modules & (HEAVY | WRITING | {"typer", "msgspec", "lmdb", "theta.cli"})


@pytest.mark.parametrize("command", READING)
def test_no_verb_that_reads_values_imports_torch(folder: Path, command: str) -> None:
    code, modules = _modules(folder, command)
    assert code == 0
    assert not modules & {"torch", "rich"}


def test_the_test_sees_what_is_imported(folder: Path) -> None:
    assert {"numpy", "zstandard"} <= _modules(folder, "cat HEAD::w")[1]


def test_a_changed_torch_file_is_read_without_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "m.pt")
    with Repo.init(tmp_path) as repo:
        repo.add(["m.pt"])
    for command in ("status", "commit -m first --json", "checkout --force HEAD"):
        code, modules = _modules(tmp_path, command)
        assert code == 0, command
        assert not modules & {"torch", "rich"}, command
