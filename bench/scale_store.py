"""Stores of any size, resampled from real ones: real text, and embeddings with a little noise.

A row is a real embedding; from the second time it is taken on, normalise(embedding + noise) with
noise of length 0.3, so that copies have a cosine of 0.96 with one another: about what the nearest
neighbours of code have that is written twice. Texts, files and postings are taken as often as
embeddings, under other paths.
"""

from __future__ import annotations

from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import numpy as np

from vectors.collection import Collection
from vectors.lexical import Posting
from vectors.segment import Columns
from vectors.snapshot import Frozen, write_frozen
from vectors.types import FileState, LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.manifest import SnapshotInfo
    from vectors.segment import Segment
    from vectors.types import Chunk

NAME = "code"
NOISE = 0.3
LEAST_REAL = 80_000


def make_store(sources: Sequence[Path], store: Path, count: int) -> SnapshotInfo:
    """Write a store of `count` chunks, resampled from those of other stores."""
    collections = [Collection.open(source, NAME) for source in sources]
    frozen = [collection.freeze() for collection in collections]
    resampled = Resampled([each.segments[0] for each in frozen], frozen[0].dim, count)
    states = {path: FileState(1, "resampled") for path in resampled.paths()}
    # It has what is needed to write it; it cannot be searched.
    segments = (cast("Segment", resampled),)
    made = Frozen(NAME, frozen[0].dim, frozen[0].embedder, segments, states, LogPosition())
    return write_frozen(made, store, token=1)


class Resampled:
    """`count` chunks of several segments, over and over again."""

    def __init__(self, sources: Sequence[Segment], dim: int, count: int) -> None:
        self._sources = sources
        self._dim = dim
        sizes = [len(source.alive) for source in sources]
        self._starts = np.cumsum([0, *sizes])
        self._real = int(self._starts[-1])
        self._count = count
        files = [int(source.columns.file.max()) + 1 for source in sources]
        self._files = np.cumsum([0, *files])
        self.alive = np.ones(count, np.bool_)
        self.columns = Columns(
            self._repeated(
                [
                    source.columns.file + before
                    for source, before in zip(sources, self._files[:-1], strict=True)
                ],
                int(self._files[-1]),
            ),
            self._repeated([source.columns.length for source in sources]),
            self._repeated([source.columns.start_line for source in sources]),
        )

    def path(self, file: int) -> str:
        turn, real = divmod(file, int(self._files[-1]))
        source = int(np.searchsorted(self._files, real, side="right")) - 1
        path = self._sources[source].path(real - int(self._files[source]))
        return f"{turn}/{source}/{path}"

    def paths(self) -> list[str]:
        return [self.path(file) for file in range(int(self.columns.file[-1]) + 1)]

    def all_postings(self) -> Iterator[tuple[str, Posting]]:
        term = itemgetter(0)
        shifted = [self._shifted(number) for number in range(len(self._sources))]
        turns = np.arange(-(-self._count // self._real), dtype=np.int32)[:, np.newaxis]
        for name, found in groupby(merge(*shifted, key=term), key=term):
            pieces = [posting for _, posting in found]
            ids = np.concatenate([piece.ids for piece in pieces])
            counts = np.concatenate([piece.counts for piece in pieces])
            every = (ids + turns * np.int32(self._real)).ravel()
            there = every < self._count
            if there.any():
                yield name, Posting(every[there], np.tile(counts, len(turns))[there])

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        real = ids % self._real
        source = np.searchsorted(self._starts, real, side="right") - 1
        found: NDArray[np.float32] = np.empty((len(ids), self._dim), np.float32)
        for number, each in enumerate(self._sources):
            its = source == number
            found[its] = each.vectors(real[its] - self._starts[number])
        noise = np.random.default_rng(int(ids[0])).standard_normal(found.shape, np.float32)
        again = (ids >= self._real)[:, np.newaxis]
        found += again * noise * np.float32(NOISE / found.shape[1] ** 0.5)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        found = []
        for id_ in ids:
            real = id_ % self._real
            source = int(np.searchsorted(self._starts, real, side="right")) - 1
            found += self._sources[source].chunks([real - int(self._starts[source])])
        return found

    def _shifted(self, number: int) -> Iterator[tuple[str, Posting]]:
        for term, (ids, counts) in self._sources[number].all_postings():
            yield term, Posting(ids + np.int32(self._starts[number]), counts)

    def _repeated(self, parts: Sequence[NDArray[np.int32]], step: int = 0) -> NDArray[np.int32]:
        once = np.concatenate(parts)
        turns = np.arange(-(-self._count // len(once)))[:, np.newaxis]
        return (once + turns * step).ravel()[: self._count].astype(np.int32)
