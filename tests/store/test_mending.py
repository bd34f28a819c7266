"""What is put again into a damaged store is stored again where it does not read back."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.store.sources import BytesSource, commit_tensors, put_checkpoint
from theta_store.db.pages import Pages
from theta_store.db.volumes import PAGE, Volume
from theta_store.errors import IntegrityError
from theta_store.forms import Form
from theta_store.hints import Base
from theta_store.ids import ChunkId, TensorId
from theta_store.objects import find_form
from theta_store.store import Operation, Session, Store

Array = npt.NDArray[Any]
DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.uint8): "U8"}


def _noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _put(
    session: Session, arrays: dict[str, Array], bases: dict[str, TensorId] | None = None
) -> dict[str, TensorId]:
    sources = {
        name: BytesSource(DTYPES[a.dtype], a.shape, a.tobytes()) for name, a in arrays.items()
    }
    known = bases or {}

    def hints(name: str) -> Sequence[Base]:
        return [Base(known[name])] if name in known else []

    return {s.name: s.id for s in session.put_tensors(sources.items(), hints=hints)}


def _stored(
    store: Store,
    arrays: dict[str, Array],
    bases: dict[str, TensorId] | None = None,
    *,
    verify: bool = False,
) -> tuple[dict[str, TensorId], int]:
    with store.session(verify=verify) as session:
        ids = _put(session, arrays, bases)
        session.flush()
        session.mend()
        return ids, session.mended


def _chunk(store: Store, id_: TensorId) -> ChunkId:
    (chunk,) = store.tensor(id_).chunks
    return chunk


def _form(store: Store, chunk: bytes) -> Form:
    with store._meta.read() as reader:
        form = find_form(reader, ChunkId(chunk))
    assert form is not None
    return form


def _spoil(store: Store, chunk: bytes) -> None:
    """Put another payload of the same length in the place of a chunk's."""
    form = _form(store, chunk)
    volume = store._volumes.get(form.volume)
    with volume.payload(chunk) as payload:
        assert payload is not None
        data = bytearray(payload)
    data[len(data) // 2] ^= 0x10
    volume.put([(chunk, bytes(data))])


def _read(store: Store, id_: TensorId) -> bytes:
    record = store.tensor(id_)
    out = bytearray(record.nbytes)
    store.read_range(record, 0, memoryview(out))
    return bytes(out)


def _reopened(store: Store) -> Store:
    """Return the store with nothing in memory."""
    store.close()
    return Store(store.folder)


BIG = {"w": _noise(1, 256, 256)}
SMALL = {f"n{i}": _noise(10 + i, 40) for i in range(5)}


def test_a_damaged_chunk_is_stored_again_only_where_it_is_looked_at(store: Store) -> None:
    ids, _ = _stored(store, BIG)
    _spoil(store, _chunk(store, ids["w"]))
    store = _reopened(store)
    assert _stored(store, BIG) == (ids, 0)
    with pytest.raises(IntegrityError):
        _read(store, ids["w"])
    assert _stored(store, BIG, verify=True) == (ids, 1)
    store = _reopened(store)
    assert _read(store, ids["w"]) == BIG["w"].tobytes()
    assert store.check() == []


def test_a_sound_form_is_left_as_it_is(store: Store) -> None:
    first, _ = _stored(store, BIG | SMALL)
    edited = {name: array + np.float32(1e-3) for name, array in (BIG | SMALL).items()}
    second, _ = _stored(store, edited, first)
    before = [_form(store, _chunk(store, id_)) for id_ in (*first.values(), *second.values())]
    assert _stored(store, edited, first, verify=True) == (second, 0)
    after = [_form(store, _chunk(store, id_)) for id_ in (*first.values(), *second.values())]
    assert after == before


def test_what_leans_on_a_mended_chunk_is_readable_again(store: Store) -> None:
    first, _ = _stored(store, BIG)
    edited = {"w": BIG["w"] + np.float32(1e-4)}
    second, _ = _stored(store, edited, first)
    assert _form(store, _chunk(store, second["w"])).needs
    _spoil(store, _chunk(store, first["w"]))
    store = _reopened(store)
    # The later tensor as a hint: what is mended must not lean on what leans on it.
    assert _stored(store, BIG, second, verify=True) == (first, 1)
    store = _reopened(store)
    assert _read(store, second["w"]) == edited["w"].tobytes()
    assert _form(store, _chunk(store, first["w"])).depth == 0
    assert store.check() == []


def test_what_is_mended_never_becomes_as_deep_as_what_needs_it(store: Store) -> None:
    # Bytes have no sketch: they lean on what the hints name, and on nothing else.
    base, later, like = (_noise(1, 300, 300) + np.float32(step) for step in (0, 1e-4, 2e-4))
    first, _ = _stored(store, {"w": base.view(np.uint8)})
    second, _ = _stored(store, {"w": later.view(np.uint8)}, first)
    other, _ = _stored(store, {"w": like.view(np.uint8)})
    depths = [_form(store, _chunk(store, ids["w"])).depth for ids in (first, second, other)]
    assert depths == [0, 1, 0]
    _spoil(store, _chunk(store, first["w"]))
    store = _reopened(store)
    assert _stored(store, {"w": base.view(np.uint8)}, other, verify=True) == (first, 1)
    assert _form(store, _chunk(store, first["w"])).depth == 0
    assert store.check() == []


def _cluster(store: Store, id_: TensorId) -> bytes:
    form = _form(store, _chunk(store, id_))
    assert not form.has_payload, "a piece of a cluster"
    return form.needs[0].id


def test_a_damaged_cluster_is_put_together_from_its_pieces(store: Store) -> None:
    first, _ = _stored(store, SMALL)
    edited = {name: array + np.float32(1e-3) for name, array in SMALL.items()}
    second, _ = _stored(store, edited, first)
    cluster = _cluster(store, first["n0"])
    assert cluster in {need.id for need in _form(store, _cluster(store, second["n0"])).needs}
    _spoil(store, cluster)
    store = _reopened(store)
    _, mended = _stored(store, SMALL, verify=True)
    assert mended == len(SMALL) + 1
    store = _reopened(store)
    for name, array in edited.items():
        assert _read(store, second[name]) == array.tobytes(), "only the old files were put"
    assert store.check() == []


def test_a_cluster_is_put_together_once(store: Store) -> None:
    ids, _ = _stored(store, SMALL)
    _spoil(store, _cluster(store, ids["n0"]))
    store = _reopened(store)
    with store.session(verify=True) as session:
        _put(session, SMALL)
        session.mend()
        before = (session.stored_bytes, session.mended, store._volumes.numbers())
        session.publish(Operation(0, 0, "t", "t", ()))
        after = (session.stored_bytes, session.mended, store._volumes.numbers())
    assert before == after
    assert store.check() == []


def test_pieces_that_come_without_all_others_are_mended_themselves(store: Store) -> None:
    ids, _ = _stored(store, SMALL)
    _spoil(store, _cluster(store, ids["n0"]))
    store = _reopened(store)
    some = {name: SMALL[name] for name in ("n1", "n3")}
    _, mended = _stored(store, some, verify=True)
    assert mended == 2
    store = _reopened(store)
    for name in some:
        assert _read(store, ids[name]) == SMALL[name].tobytes()
    with pytest.raises(IntegrityError):
        _read(store, ids["n0"])


def _gone(store: Store) -> None:
    shutil.rmtree(store.folder / "volumes" / "00000001")


def _cut(share: float) -> Callable[[Store], None]:
    def damage(store: Store) -> None:
        file = store.folder / "volumes" / "00000001" / "data.mdb"
        with file.open("r+b") as opened:
            opened.truncate(int(file.stat().st_size * share))

    return damage


def test_a_volume_that_is_gone_holds_nothing_for_anybody(store: Store) -> None:
    first, _ = _stored(store, BIG | SMALL)
    edited = {name: array + np.float32(1e-3) for name, array in (BIG | SMALL).items()}
    second, _ = _stored(store, edited, first)
    store.close()
    _gone(store)
    store = Store(store.folder)
    _stored(store, edited, first)
    store = _reopened(store)
    for name, array in edited.items():
        assert _read(store, second[name]) == array.tobytes(), "without looking for damage"
    assert _stored(store, edited, first)[1] == 0


LOSSES = {"gone": _gone, "empty": _cut(0), "cut": _cut(0.3), "a bit cut": _cut(0.9)}


@pytest.mark.parametrize("damage", LOSSES.values(), ids=LOSSES)
def test_a_volume_that_is_lost_is_stored_again(
    store: Store, damage: Callable[[Store], None]
) -> None:
    first, _ = _stored(store, BIG | SMALL)
    edited = {name: array + np.float32(1e-3) for name, array in (BIG | SMALL).items()}
    second, _ = _stored(store, edited, first)
    store.close()
    damage(store)
    store = Store(store.folder)
    _stored(store, edited, first, verify=True)
    _stored(store, BIG | SMALL, second, verify=True)
    store = _reopened(store)
    for ids, arrays in ((first, BIG | SMALL), (second, edited)):
        for name, array in arrays.items():
            assert _read(store, ids[name]) == array.tobytes()


def test_a_volume_that_cannot_be_opened_keeps_nobody_from_committing(store: Store) -> None:
    _stored(store, BIG)
    store.close()
    _cut(0.5)(store)
    store = Store(store.folder)
    ids, _ = _stored(store, {"new": _noise(7, 200, 200)})
    assert _read(store, ids["new"]) == _noise(7, 200, 200).tobytes()


def _far(file: Path, root: int, starts: Sequence[int], _: Sequence[int]) -> None:
    """Let a branch point at pages that are not there."""
    for start in starts:
        _write(file, root * PAGE + start, b"\xff\xff\xff\x0f")


def _torn(file: Path, _: int, __: Sequence[int], children: Sequence[int]) -> None:
    """Let leaves point outside themselves."""
    for child in children:
        _write(file, child * PAGE + 16, b"\xff" * 4)


def _blank(file: Path, _: int, __: Sequence[int], children: Sequence[int]) -> None:
    for child in children:
        _write(file, child * PAGE, bytes(PAGE))


def _write(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


def _break_pages(store: Store, damage: Callable[..., None]) -> Store:
    """Damage the pages of the first volume that opening it does not look at."""
    store.close()
    file = store.folder / "volumes" / "00000001" / "data.mdb"
    pages = Pages(file)
    root = pages._page(pages.head.root)
    children = [root.node(start).child for start in root.starts]
    pages.close()
    assert all(children), "a tree of one page has none that opening does not look at"
    damage(file, root.number, root.starts, children)
    return Store(store.folder)


BROKEN = {"far": _far, "torn": _torn, "blank": _blank}
MANY = {f"w{i}": _noise(100 + i, 140, 140) for i in range(120)}


@pytest.mark.parametrize("damage", [_far, _blank])
def test_a_volume_with_broken_pages_keeps_nobody_from_committing(
    store: Store, damage: Callable[..., None]
) -> None:
    _stored(store, MANY)
    store = _break_pages(store, damage)
    for seed in (7, 8):
        new = _noise(seed, 200, 200)
        ids, _ = _stored(store, {"new": new})
        store = _reopened(store)
        assert _read(store, ids["new"]) == new.tobytes()
    assert store._volumes.numbers() == [1, 2], "a new volume for all that comes"


def test_a_new_volume_that_is_broken_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(volume: Volume, _: object) -> None:
        raise IntegrityError(f"no page of {volume.number} is to be found")

    monkeypatch.setattr(Volume, "put", fail)
    monkeypatch.setattr(Volume, "flaws", lambda _: ["page 5 is broken"])
    with pytest.raises(IntegrityError, match="page of 1"):
        _stored(store, BIG)
    assert store._volumes.numbers() == [1], "not one after the other"


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_gc_leaves_a_volume_with_broken_pages_until_it_is_of_no_use(
    store: Store, damage: Callable[..., None]
) -> None:
    sources = {name: BytesSource("F32", a.shape, a.tobytes()) for name, a in MANY.items()}
    commit_tensors(store, sources)
    store = _break_pages(store, damage)
    before = (store.folder / "volumes" / "00000001" / "data.mdb").read_bytes()
    assert store.collector(undo_seconds=0).forecast().disk_bytes == 0
    assert store.collector(undo_seconds=0).collect().disk_bytes == 0
    assert (store.folder / "volumes" / "00000001" / "data.mdb").read_bytes() == before
    with store.session(verify=True) as session:
        put_checkpoint(session, sources)
        session.mend()
    store = _reopened(store)
    assert store.collector(undo_seconds=0).collect().disk_bytes > 0
    assert store._volumes.numbers() == [2]
    assert store.check() == []


def test_gc_takes_a_volume_that_is_damaged_and_of_no_use(store: Store) -> None:
    with store.session() as session:
        _put(session, BIG)
        session.flush()
    store.close()
    _cut(0.5)(store)
    store = Store(store.folder)
    store.collector(undo_seconds=0).collect()
    assert store._volumes.numbers() == []


def test_nothing_is_written_to_an_index_whose_pages_are_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store._meta), "flaws", lambda _: ["page 5 is broken"])
    with pytest.raises(IntegrityError, match="page 5"), store.session(verify=True):
        pass


def test_two_that_mend_at_once(store: Store) -> None:
    ids, _ = _stored(store, BIG)
    _spoil(store, _chunk(store, ids["w"]))
    store = _reopened(store)
    with store.session(verify=True) as one, store.session(verify=True) as two:
        _put(one, BIG)
        _put(two, BIG)
        one.mend()
        first = _form(store, _chunk(store, ids["w"]))
        two.mend()
    assert _form(store, _chunk(store, ids["w"])) == first, "a sound form took the place of another"
