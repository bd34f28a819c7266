"""fsck finds what is damaged in real repositories, names whom it hurts, and changes nothing."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from theta.repo import Author, Details, Repo
from theta_store.db import Table
from theta_store.errors import NothingToCommit
from theta_store.ids import BlobId, CheckpointId, ChunkId, CommitId, ParamsId, RecordId, TensorId
from theta_store.objects import find_form, put_form
from theta_store.records import Tensor
from theta_store.store import Store

ADA = Author("Ada <ada@example.org>")
SECONDS = 10
PAGE = 4096
Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Ids:
    """What the commit ``second`` holds, and its parent."""

    first: CommitId
    second: CommitId
    records: Mapping[str, RecordId]
    tensors: Mapping[str, Tensor]
    base: ChunkId

    def chunk(self, name: str) -> ChunkId:
        return self.tensors[name].chunks[0]


def _write(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def noise(*shape: int, seed: int = 1) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal(shape, np.float32)

    state = {"enc.w": torch.from_numpy(noise(64, 64, seed=seed + 20)), "enc.b": torch.ones(7)}
    torch.save(state, folder / "model.pt")
    # Large enough to be chunks of their own.
    a = noise(130, 130)
    a[0, :2] += seed - 1
    save_file({"a": a, "b": noise(90, 200)}, folder / "s.safetensors")
    (folder / "big").mkdir(exist_ok=True)
    names = {f"layers.{i}": f"m-{i + 1:05}-of-00002.safetensors" for i in range(2)}
    for number, (name, file) in enumerate(names.items()):
        save_file({name: noise(20, 30, seed=7 + number)}, folder / "big" / file)
    index = {"metadata": {}, "weight_map": names}
    (folder / "big" / "m.safetensors.index.json").write_text(json.dumps(index))
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "config.json").write_text('{"hidden": 64}')
    (folder / "noise.bin").write_bytes(rng.bytes(9000))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ids]:
    """Two commits: in the second ``enc.w`` and ``noise.bin`` are new, ``a`` is edited."""
    folder = tmp_path_factory.mktemp("sound") / "work"
    with Repo.init(folder) as repo:
        repo.add(["."])
        commits = []
        for seed, message in ((1, "first"), (2, "second")):
            _write(folder, seed)
            commits.append(repo.commit(message, author=ADA).id)
        ids = _ids(repo, *commits)
    done, problems = _fsck(folder)
    assert (done.returncode, problems) == (0, [])
    return folder, ids


def _ids(repo: Repo, first: CommitId, second: CommitId) -> Ids:
    store = repo.store
    tree = store.commit(second).tree
    entries = {entry.name: entry.id for entry in store.tree(tree).entries}
    model = store.checkpoint(CheckpointId(entries["model.pt"]))
    inner = {e.component: e.params for e in store.params(model.params).entries}["enc"]
    assert inner is not None
    shards = {e.name: e.id for e in store.tree(entries["big"]).entries}  # type: ignore[arg-type]
    big = store.checkpoint(CheckpointId(next(iter(shards.values()))))
    records = {
        "tree": tree,
        "run": entries["run"],
        "checkpoint": entries["model.pt"],
        "root params": model.params,
        "params": inner,
        "layout": model.files[0].layout,
        "shard layout": next(
            f.layout for f in big.files if f.path == "m-00002-of-00002.safetensors"
        ),
        "noise": entries["noise.bin"],
    }
    tensors = {}
    for path in ("model.pt", "s.safetensors"):
        root = store.checkpoint(CheckpointId(entries[path])).params
        for name, id_ in _leaves(store, root):
            records[name], tensors[name] = id_, store.tensor(id_)
    base = repo.tensor(first, "s.safetensors", "a").chunks[0]
    with store._meta.read() as reader:
        form = find_form(reader, tensors["a"].chunks[0])
    assert form is not None
    assert [need.kind for need in form.needs], "the edited tensor leans on its older self"
    return Ids(first, second, records, tensors, base)


def _leaves(store: Store, root: ParamsId, prefix: str = "") -> list[tuple[str, TensorId]]:
    found = []
    for entry in store.params(root).entries:
        if entry.tensor is not None:
            found.append((prefix + entry.component, entry.tensor))
        if entry.params is not None:
            found += _leaves(store, entry.params, f"{prefix}{entry.component}.")
    return found


def _fsck(folder: Path) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run fsck; it must end soon, with a known code, and without a traceback or a signal."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "theta", "fsck", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert time.monotonic() - start < SECONDS
    assert done.returncode in {0, 1, 6}, done
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    if done.returncode == 6:
        assert answer["schema"] == "theta.error/1"
        return done, []
    assert answer["ok"] == (done.returncode == 0)
    return done, list(answer["problems"])


def _digest(folder: Path) -> dict[str, str]:
    """Return the sums of every file; LMDB's lock file is rewritten by every reader."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock.mdb"
    }


# What is damaged ----------------------------------------------------------------------------


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


def _meta_file(folder: Path) -> Path:
    return folder / ".theta" / "store" / "meta" / "data.mdb"


def _volume_file(folder: Path) -> Path:
    (path,) = folder.glob(".theta/store/volumes/*/data.mdb")
    return path


def _row(folder: Path, table: str, key: bytes, change: Change | None) -> None:
    """Change or delete a row, as it lies in the table."""
    with Store(folder / ".theta" / "store") as store, store._meta.write() as writer:
        if change is None:
            assert writer.delete(table, key)
            return
        row = writer.get(table, key)
        assert row is not None
        writer.put(table, key, change(bytes(row)))


def _payload(folder: Path, chunk: ChunkId) -> bytes:
    with Store(folder / ".theta" / "store") as store:
        volume = store._volumes.get(store._volumes.numbers()[0])
        with volume.payload(chunk) as payload:
            assert payload is not None
            return bytes(payload)


def _flip_payload(folder: Path, chunk: ChunkId) -> None:
    """Flip one bit of a payload where it lies in the file, in pages that are no longer used too."""
    payload = _payload(folder, chunk)
    path = _volume_file(folder)
    data = path.read_bytes()
    assert payload in data
    path.write_bytes(data.replace(payload, _flip(payload, len(payload) // 2)))


def _delete_payload(folder: Path, chunk: ChunkId) -> None:
    with Store(folder / ".theta" / "store") as store:
        store._volumes.get(store._volumes.numbers()[0]).delete([chunk])


def _point_outside(path: Path, key: bytes) -> None:
    """Let the first entry of every page that holds a key start behind the end of its page."""
    data = bytearray(path.read_bytes())
    for start in range(2 * PAGE, len(data), PAGE):
        (flags,) = struct.unpack_from("=10xH", data, start)
        if flags == 2 and key in data[start : start + PAGE]:
            data[start + 17] ^= 0x80
    path.write_bytes(data)


def _cut(path: Path, size: float) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * size))


FIRST, SECOND = "first", "second"
Hurts = set[tuple[str, str, str | None]]
ENC_W: Hurts = {(SECOND, "model.pt", "enc.w")}
ENC_B: Hurts = {(FIRST, "model.pt", "enc.b"), (SECOND, "model.pt", "enc.b")}
BOTH_A: Hurts = {(FIRST, "s.safetensors", "a"), (SECOND, "s.safetensors", "a")}
MODEL: Hurts = {(SECOND, "model.pt", None)}
NOISE: Hurts = {(SECOND, "noise.bin", None)}


def _both(path: str, name: str | None = None) -> Hurts:
    return {(FIRST, path, name), (SECOND, path, name)}


def _flip_record(name: str, at: int = 30) -> Callable[[Path, Ids], None]:
    return lambda f, i: _row(f, Table.RECORDS, i.records[name], lambda d: _flip(d, at))


def _drop_record(name: str) -> Callable[[Path, Ids], None]:
    return lambda f, i: _row(f, Table.RECORDS, i.records[name], None)


def _layout_chunk(name: str) -> Callable[[Path, Ids], None]:
    def damage(folder: Path, ids: Ids) -> None:
        with Store(folder / ".theta" / "store") as store:
            (chunk,) = store.blob(BlobId(ids.records[name])).chunks
        _flip_payload(folder, chunk)

    return damage


CHUNK, LOST_CHUNK = {("damaged", "chunk")}, {("missing", "chunk")}
RECORD, LOST_RECORD = {("damaged", "record")}, {("missing", "record")}

DAMAGES: dict[str, tuple[Callable[[Path, Ids], None], set[tuple[str, str]], Hurts]] = {
    "payload flipped": (lambda f, i: _flip_payload(f, i.chunk("enc.w")), CHUNK, ENC_W),
    "shared payload flipped": (
        lambda f, i: _flip_payload(f, i.chunk("b")),
        CHUNK,
        _both("s.safetensors", "b"),
    ),
    "payload deleted": (lambda f, i: _delete_payload(f, i.chunk("enc.w")), CHUNK, ENC_W),
    "payload of a plain file flipped": (
        lambda f, i: _flip_payload(f, _blob_chunk(f, i, "noise")),
        CHUNK,
        NOISE,
    ),
    "form row flipped": (
        lambda f, i: _row(f, Table.CHUNKS, i.chunk("enc.w"), lambda d: _flip(d, 12)),
        CHUNK,
        ENC_W,
    ),
    "form row deleted": (
        lambda f, i: _row(f, Table.CHUNKS, i.chunk("enc.w"), None),
        LOST_CHUNK,
        ENC_W,
    ),
    "base of a form flipped": (lambda f, i: _flip_payload(f, i.base), CHUNK, BOTH_A),
    "base of a form missing": (
        lambda f, i: _row(f, Table.CHUNKS, i.base, None),
        {*LOST_CHUNK, *CHUNK},
        BOTH_A,
    ),
    "tensor flipped": (_flip_record("enc.b"), RECORD, ENC_B),
    "tensor deleted": (_drop_record("enc.w"), LOST_RECORD, ENC_W),
    "module flipped": (_flip_record("params"), RECORD, {(SECOND, "model.pt", "enc.*")}),
    "module deleted": (_drop_record("params"), LOST_RECORD, {(SECOND, "model.pt", "enc.*")}),
    "all parameters deleted": (_drop_record("root params"), LOST_RECORD, MODEL),
    "checkpoint flipped": (_flip_record("checkpoint"), RECORD, MODEL),
    "checkpoint deleted": (_drop_record("checkpoint"), LOST_RECORD, MODEL),
    "layout flipped": (_layout_chunk("layout"), CHUNK, _both("model.pt")),
    "layout deleted": (_drop_record("layout"), LOST_RECORD, _both("model.pt")),
    "layout of a shard flipped": (
        _layout_chunk("shard layout"),
        CHUNK,
        _both("big/m-00002-of-00002.safetensors"),
    ),
    "folder flipped": (_flip_record("run", 20), RECORD, _both("run")),
    "tree flipped": (_flip_record("tree"), RECORD, {(SECOND, "", None)}),
    "tree deleted": (_drop_record("tree"), LOST_RECORD, {(SECOND, "", None)}),
    "commit flipped": (
        lambda f, i: _row(f, Table.RECORDS, i.second, lambda d: _flip(d, 60)),
        {*RECORD, ("dangling", "ref")},
        {(SECOND, "", None)},
    ),
    "older commit deleted": (
        lambda f, i: _row(f, Table.RECORDS, i.first, None),
        LOST_RECORD,
        {(FIRST, "", None)},
    ),
    "ref flipped": (
        lambda f, i: _row(f, Table.REFS, b"refs/heads/main", lambda d: _flip(d, 20)),
        {("damaged", "ref")},
        set(),
    ),
    "HEAD flipped": (
        lambda f, i: _row(f, Table.REFS, b"HEAD", lambda d: _flip(d, 12)),
        {("damaged", "ref")},
        set(),
    ),
    "HEAD missing": (
        lambda f, i: _row(f, Table.REFS, b"HEAD", None),
        {("missing", "ref")},
        set(),
    ),
    "operation flipped": (
        lambda f, i: _row(f, Table.OPERATIONS, (2).to_bytes(8, "big"), lambda d: _flip(d, 20)),
        {("damaged", "entry")},
        set(),
    ),
    "operation missing": (
        lambda f, i: _row(f, Table.OPERATIONS, (1).to_bytes(8, "big"), None),
        {("missing", "entry")},
        set(),
    ),
    "counter of volumes flipped": (
        lambda f, i: _row(f, Table.SETTINGS, b"next_volume", lambda d: _flip(d, 10)),
        {("damaged", "entry")},
        set(),
    ),
}


def _blob_chunk(folder: Path, ids: Ids, name: str) -> ChunkId:
    with Store(folder / ".theta" / "store") as store:
        return store.blob(BlobId(ids.records[name])).chunks[0]


@pytest.fixture
def copy(sound: tuple[Path, Ids], tmp_path: Path) -> tuple[Path, Ids]:
    folder, ids = sound
    shutil.copytree(folder, tmp_path / "work")
    return tmp_path / "work", ids


def _named(problems: list[dict[str, Any]], ids: Ids) -> Hurts:
    names = {ids.first.hex(): FIRST, ids.second.hex(): SECOND}
    return {(names[h["commit"]], h["path"], h["param"]) for p in problems for h in p["hurts"]}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named_and_left_alone(copy: tuple[Path, Ids], name: str) -> None:
    folder, ids = copy
    damage, kinds, hurts = DAMAGES[name]
    damage(folder, ids)
    before = _digest(folder)
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert {(p["kind"], p["what"]) for p in problems} == kinds
    assert _named(problems, ids) == hurts
    assert _digest(folder) == before


def test_the_terminal_shows_kind_parameter_and_commit(copy: tuple[Path, Ids]) -> None:
    folder, ids = copy
    _flip_payload(folder, ids.chunk("enc.w"))
    done = subprocess.run(
        [sys.executable, "-m", "theta", "fsck"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "damaged chunk:" in done.stdout
    assert f"hurts {ids.second.hex()[:10]}:model.pt::enc.w" in done.stdout


ALL: Hurts = {
    *_both("model.pt", "enc.w"),
    *_both("model.pt", "enc.b"),
    *_both("model.pt"),
    *_both("s.safetensors", "a"),
    *_both("s.safetensors", "b"),
    *_both("s.safetensors"),
    *_both("big/m.safetensors.index.json", "layers.0"),
    *_both("big/m.safetensors.index.json", "layers.1"),
    *_both("big/m.safetensors.index.json"),
    *_both("big/m-00001-of-00002.safetensors"),
    *_both("big/m-00002-of-00002.safetensors"),
    *_both("run/config.json"),
    *_both("noise.bin"),
}


@pytest.mark.parametrize("size", [0, 0.02, 0.5, 0.95])
def test_a_volume_that_was_cut_short(copy: tuple[Path, Ids], size: float) -> None:
    folder, ids = copy
    _cut(_volume_file(folder), size)
    before = _digest(folder)
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert ("damaged", "file") in {(p["kind"], p["what"]) for p in problems}
    named = _named(problems, ids)
    assert named == ALL if size < 0.1 else named <= ALL
    assert named or size > 0.9, "half of the payload is gone"
    assert _digest(folder) == before


def test_a_volume_that_is_gone(copy: tuple[Path, Ids]) -> None:
    folder, ids = copy
    shutil.rmtree(_volume_file(folder).parent)
    before = _digest(folder)
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert ("missing", "file") in {(p["kind"], p["what"]) for p in problems}
    assert _named(problems, ids) == ALL
    assert _digest(folder) == before


@pytest.mark.parametrize("size", [0, 0.02, 0.5, None])
def test_a_store_that_cannot_be_opened(copy: tuple[Path, Ids], size: float | None) -> None:
    folder, _ = copy
    path = _meta_file(folder)
    if size is None:
        path.unlink()
    else:
        _cut(path, size)
    before = _digest(folder)
    done, _ = _fsck(folder)
    assert done.returncode == 6
    assert json.loads(done.stdout)["kind"] == "integrity"
    assert _digest(folder) == before


def test_damaged_settings_say_so(copy: tuple[Path, Ids]) -> None:
    folder, _ = copy
    _row(folder, Table.SETTINGS, b"format", lambda d: _flip(d, 12))
    done, _ = _fsck(folder)
    assert done.returncode == 6
    assert "settings entry 'format' is damaged" in json.loads(done.stdout)["message"]


def test_a_page_of_the_index_that_points_outside_itself(copy: tuple[Path, Ids]) -> None:
    """LMDB would follow it past the end of the file and be killed; fsck reads around it."""
    folder, ids = copy
    _point_outside(_meta_file(folder), ids.records["enc.w"])
    before = _digest(folder)
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert {p["id"] for p in problems if p["what"] == "file"} == {"meta"}
    assert _digest(folder) == before


def test_a_page_of_a_volume_that_points_outside_itself(copy: tuple[Path, Ids]) -> None:
    folder, ids = copy
    _point_outside(_volume_file(folder), ids.chunk("enc.w"))
    before = _digest(folder)
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert {p["id"] for p in problems if p["what"] == "file"} == {"volumes/00000001"}
    named = _named(problems, ids)
    assert named
    assert named < ALL, "only what lies behind the broken entry"
    assert _digest(folder) == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may write whatever the mode says",
)
def test_a_repository_that_may_only_be_read(copy: tuple[Path, Ids]) -> None:
    folder, _ = copy
    paths = [folder / ".theta", *(folder / ".theta").rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        done, problems = _fsck(folder)
    finally:
        for path in paths:
            path.chmod(0o755)
    assert (done.returncode, problems) == (0, [])


def test_dangling_needs_never_loop(copy: tuple[Path, Ids]) -> None:
    """A form that needs itself is an error of whoever wrote it; fsck must still end."""
    import msgspec

    folder, ids = copy
    chunk = ids.chunk("a")
    with Store(folder / ".theta" / "store") as store, store._meta.write() as writer:
        form = find_form(writer, chunk)
        assert form is not None
        needs = tuple(msgspec.structs.replace(need, kind="chunk", id=chunk) for need in form.needs)
        put_form(writer, chunk, msgspec.structs.replace(form, needs=needs))
    done, problems = _fsck(folder)
    assert done.returncode == 1
    assert (SECOND, "s.safetensors", "a") in _named(problems, ids)


# Healing ------------------------------------------------------------------------------------


def _lose_volume(folder: Path, _: Ids) -> None:
    shutil.rmtree(_volume_file(folder).parent)


def _cut_volume(share: float) -> Callable[[Path, Ids], None]:
    return lambda folder, _: _cut(_volume_file(folder), share)


# Refs, the log and commits are in no file of the workspace.
NOT_IN_FILES = ("commit", "older commit", "ref", "HEAD", "operation", "counter")
HEALED: dict[str, Callable[[Path, Ids], None]] = {
    **{name: d for name, (d, _, _) in DAMAGES.items() if not name.startswith(NOT_IN_FILES)},
    "volume lost": _lose_volume,
    "volume emptied": _cut_volume(0),
    "volume cut": _cut_volume(0.5),
    "volume cut a bit": _cut_volume(0.95),
    "page of the volume": lambda f, i: _point_outside(_volume_file(f), i.chunk("enc.w")),
}


def _theta(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "theta", *args], cwd=folder, capture_output=True, text=True
    )


def _exported(folder: Path, revision: str, out: Path) -> dict[str, bytes]:
    with Repo(folder) as repo:
        repo.export(revision, out, folder=True)
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def files(
    sound: tuple[Path, Ids], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], Path, dict[str, bytes]]:
    """What HEAD has, and its parent: in a folder, and as bytes."""
    out = tmp_path_factory.mktemp("files")
    head = _exported(sound[0], "HEAD", out / "head")
    return head, out / "old", _exported(sound[0], "HEAD~1", out / "old")


@pytest.mark.parametrize("name", HEALED)
def test_the_files_heal_what_was_stored_of_them(
    copy: tuple[Path, Ids],
    files: tuple[dict[str, bytes], Path, dict[str, bytes]],
    name: str,
    tmp_path: Path,
) -> None:
    """First those of HEAD, then copies of the older ones; then all is as it was."""
    folder, ids = copy
    head, place, old = files
    HEALED[name](folder, ids)
    with Repo(folder) as repo, pytest.raises(NothingToCommit):
        repo.commit("heal", author=ADA, details=Details(rehash=True))
    assert _exported(folder, "HEAD", tmp_path / "head") == head
    rescue = Details(rehash=True, as_name=".rescued", branch="rescue")
    with Repo(folder) as repo:
        repo.commit("old files", author=ADA, paths=[str(place)], details=rescue)
        assert repo.head.commit == ids.second
    assert _exported(folder, "HEAD", tmp_path / "head again") == head
    assert _exported(folder, "HEAD~1", tmp_path / "old") == old
    with Repo(folder) as repo:
        repo.gc()
        assert repo.fsck() == []


def test_fsck_and_commit_say_what_heals(copy: tuple[Path, Ids]) -> None:
    folder, ids = copy
    _flip_payload(folder, ids.chunk("enc.w"))
    assert "Try: theta commit --rehash" in _theta(folder, "fsck").stderr
    done = _theta(folder, "commit", "--rehash", "-m", "heal")
    assert "stored again 1 chunk or record that was damaged" in done.stderr
    assert _theta(folder, "fsck").stderr == ""
    _row(folder, Table.OPERATIONS, (2).to_bytes(8, "big"), lambda d: _flip(d, 20))
    said = _theta(folder, "fsck").stderr
    assert "backup" in said
    assert "--rehash" not in said


# Random bits --------------------------------------------------------------------------------

FLIPS = 200


def _flips(folder: Path) -> list[tuple[str, int]]:
    """Return places to flip, as files and bits: half anywhere, half in the heads of pages."""
    rng = np.random.default_rng(2026)
    files = [_meta_file(folder), _volume_file(folder)]
    found = []
    for number in range(FLIPS):
        path = files[number % 2]
        at = int(rng.integers(path.stat().st_size))
        if number % 4 >= 2:
            at = at // PAGE * PAGE + at % 64
        found.append((str(path.relative_to(folder)), 8 * at + int(rng.integers(8))))
    return found


def _answers(folder: Path, work: Path, flips: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Let other processes flip, check and read; one that is killed by a read is followed by more.

    LMDB trusts its pages, so a read may be killed; fsck has answered before and must not be.
    """
    answers: list[dict[str, Any]] = []
    while len(answers) < len(flips):
        done = subprocess.run(
            [sys.executable, "-m", "tests.theta.flip_reader", str(folder), str(work)],
            input=json.dumps(flips[len(answers) :]),
            capture_output=True,
            text=True,
            timeout=300,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        killed = done.returncode < 0
        assert killed or done.returncode == 0, done.stderr
        assert lines, f"fsck was killed by signal {-done.returncode}: {flips[len(answers)]}"
        for line in lines:
            if "problems" in line:
                answers.append(line | {"killed": True})
            else:
                answers[-1] |= line | {"killed": False}
    return answers


def test_a_flipped_bit_that_changes_an_answer_is_reported(
    sound: tuple[Path, Ids], tmp_path: Path
) -> None:
    folder, _ = sound
    flips = _flips(folder)
    changed = 0
    for flip, answer in zip(flips, _answers(folder, tmp_path / "work", flips), strict=True):
        assert answer["seconds"] < SECONDS, flip
        if answer["killed"] or not answer["same"]:
            changed += 1
            assert answer["problems"] or answer.get("error"), (flip, answer)
        if answer["killed"]:
            assert answer["problems"], (flip, answer)
    assert changed > FLIPS // 20, "most flips hit nothing that is in use"
