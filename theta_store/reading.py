"""Tensors and blobs from chunks: the parallel pipeline, and ranges of single ones.

Owns the batches of small pieces, what of them is written in one go, and which chunks a range takes.
Must not know formats or commits, nor how chunks are decoded; of a file no more than that it is
written by position.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from theta_store.chunking import BATCH_BYTES, BATCH_PIECES, pieces_within, ranges_of
from theta_store.ids import ChunkId
from theta_store.pipeline import Pool
from theta_store.records import Blob, Tensor

if TYPE_CHECKING:
    from theta_store.chunks import Chunks
    from theta_store.scratch import Scratch


class Sink(Protocol):
    """Takes the plain bytes of a tensor or blob in any order, from any thread, each once."""

    def write(self, start: int, plain: memoryview) -> None:
        """Take the bytes at ``start``; ``plain`` must not be kept."""


class File(Protocol):
    """A file that is written by position, from any thread."""

    def pwrite(self, start: int, data: memoryview) -> None:
        """Write all of ``data`` at ``start``."""


class RunSink(Sink, Protocol):
    """A sink whose bytes go to one run of a file: neighbours are written in one go."""

    @property
    def run(self) -> tuple[File, int] | None:
        """The file, and where the run begins; None where every piece has to be given to `write`."""

    def note(self, start: int, plain: memoryview) -> None:
        """Take notice of bytes that are written to the file next; what cannot be is an error."""


# A sink, and the chunk whose bytes it gets: its id, and where it starts and stops.
_Read = tuple[Sink, ChunkId, int, int]


def read_into(
    items: Iterable[tuple[Tensor | Blob, Sink]],
    chunks: "Chunks",
    pool: Pool,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Feed the verified plain bytes of each record to its sink, in parallel, in any order.

    What goes to neighbouring places of a file, as a `RunSink` says, is written together.
    """

    def work(batch: list[_Read]) -> int:
        scratch = pool.scratch()
        wanted = [(id_, stop - start) for _, id_, start, stop in batch]
        out = scratch.bytes("plain", sum(size for _, size in wanted))
        if len(batch) == 1:
            chunks.read_into(wanted[0][0], out, scratch)
        else:
            chunks.read_small(wanted, out, scratch)
        _write(batch, out)
        return len(out)

    for done in pool.map(work, _reads(items)):
        if progress is not None:
            progress(done)


def _reads(items: Iterable[tuple[Tensor | Blob, Sink]]) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    total = 0
    for record, sink in items:
        for id_, (start, stop) in zip(record.chunks, ranges_of(record), strict=True):
            if batch and (total + stop - start > BATCH_BYTES or len(batch) >= BATCH_PIECES):
                yield batch
                batch, total = [], 0
            batch.append((sink, id_, start, stop))
            total += stop - start
    if batch:
        yield batch


def _write(batch: Iterable[_Read], whole: memoryview) -> None:
    """Give pieces that lie one after the other to their sinks; runs of a file in one go."""
    file: File | None = None
    # The piece that is looked at, and the run before it that is still to be written: in the buffer
    # from ``first``, in the file from ``place``.
    at = first = place = 0
    for sink, _, start, stop in batch:
        plain = whole[at : at + stop - start]
        run: tuple[File, int] | None = getattr(sink, "run", None)
        if run is None or run[0] is not file or run[1] + start != place + at - first:
            if file is not None:
                file.pwrite(place, whole[first:at])
            file = None
            if run is not None:
                file, first, place = run[0], at, run[1] + start
        if run is None:
            sink.write(start, plain)
        else:
            cast("RunSink", sink).note(start, plain)
        at += len(plain)
    if file is not None:
        file.pwrite(place, whole[first:at])


def read_ranges(
    records: Sequence[Tensor],
    start: int,
    outs: Sequence[memoryview],
    chunks: "Chunks",
    scratch: "Scratch",
    *,
    near: int | None = None,
) -> None:
    """Fill each of ``outs`` with plain bytes of its tensor, all the same range of like tensors.

    They have one dtype and shape, so they are cut alike. Whole chunks that lie at one place are
    read together: what they need in common is decoded once. The last one of the tensor of number
    ``near`` is remembered: this thread stores something on it next.
    """
    stop = start + len(outs[0])
    for pieces in zip(*(pieces_within(record, start, stop) for record in records), strict=True):
        _, left, right = pieces[0]
        if left < start or right > stop:
            for record, out in zip(records, outs, strict=True):
                low, high = max(left, start), min(right, stop)
                read_range(record, low, out[low - start : high - start], chunks, scratch)
            continue
        places = slice(left - start, right - start)
        wanted = [(piece[0], out[places]) for piece, out in zip(pieces, outs, strict=True)]
        chunks.read_all_into(wanted, scratch, near=near)


def read_range(
    record: Tensor | Blob, start: int, out: memoryview, chunks: "Chunks", scratch: "Scratch"
) -> None:
    """Fill ``out`` with plain bytes from ``start``; whole chunks decode in place."""
    stop = start + len(out)
    for id_, left, right in pieces_within(record, start, stop):
        low, high = max(left, start), min(right, stop)
        if (low, high) == (left, right):
            chunks.read_into(id_, out[low - start : high - start], scratch)
            continue
        plain = scratch.bytes("range", right - left)
        chunks.read_into(id_, plain, scratch)
        out[low - start : high - start] = plain[low - left : high - left]
