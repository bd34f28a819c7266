"""Tensors and blobs from chunks: the parallel pipeline, and ranges of single ones.

Owns the batches of small pieces and which chunks a range takes. Must not know files, formats or
commits, nor how chunks are decoded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

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


def read_into(
    items: Iterable[tuple[Tensor | Blob, Sink]],
    chunks: "Chunks",
    pool: Pool,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Feed the verified plain bytes of each record to its sink, in parallel, in any order."""

    def work(batch: list[tuple[Sink, ChunkId, int, int]]) -> int:
        scratch = pool.scratch()
        if len(batch) == 1:
            ((sink, id_, start, stop),) = batch
            out = scratch.bytes("plain", stop - start)
            chunks.read_into(id_, out, scratch)
            sink.write(start, out)
            return stop - start
        wanted = [(id_, stop - start) for _, id_, start, stop in batch]
        for (sink, _, start, _), plain in zip(
            batch, chunks.read_small(wanted, scratch), strict=True
        ):
            sink.write(start, plain.data)
        return sum(stop - start for _, _, start, stop in batch)

    for done in pool.map(work, _reads(items)):
        if progress is not None:
            progress(done)


def _reads(
    items: Iterable[tuple[Tensor | Blob, Sink]],
) -> Iterator[list[tuple[Sink, ChunkId, int, int]]]:
    batch: list[tuple[Sink, ChunkId, int, int]] = []
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


def read_ranges(
    records: Sequence[Tensor],
    start: int,
    outs: Sequence[memoryview],
    chunks: "Chunks",
    scratch: "Scratch",
) -> None:
    """Fill each of ``outs`` with plain bytes of its tensor, all the same range of like tensors.

    They have one dtype and shape, so they are cut alike. Whole chunks that lie at one place are
    read together: what they need in common is decoded once.
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
        chunks.read_all_into(wanted, scratch)


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
