"""The small in-memory part of a collection: files that changed since the base was written.

Chunks are only ever appended, so a `LiveDelta` taken earlier stays true while more are added: it
sees the first `size` chunks and no others. That is what lets searches run without a lock.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import FatalError
from vectors.lexical import Posting, chunk_terms, terms
from vectors.segment import Columns, Neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vectors.types import Chunk, FileDelta

_FIRST_CAPACITY = 256


class Delta:
    """Growing arrays and an inverted index. One writer at a time; readers go by `LiveDelta`."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.size = 0
        self.paths: list[str] = []
        self.ranges: dict[str, range] = {}
        self.chunks: list[Chunk] = []
        self.postings: dict[str, tuple[list[int], list[int]]] = {}
        self._vectors = np.empty((_FIRST_CAPACITY, dim), np.float32)
        self._columns = np.empty((3, _FIRST_CAPACITY), np.int32)

    def append(self, entry: FileDelta) -> range:
        """Add the chunks of a file.

        Returns:
            Numbers of the added chunks.

        Raises:
            FatalError: the vectors are not of this collection's width.
        """
        vectors = self._decoded(entry)
        file = len(self.paths)
        path_terms = terms(entry.path)
        self._reserve(len(entry.chunks))
        first = self.size
        for id_, chunk in enumerate(entry.chunks, first):
            counts, length = chunk_terms(path_terms, chunk)
            self._columns[:, id_] = (file, length, chunk.start_line)
            for term, count in counts.items():
                ids, term_counts = self.postings.setdefault(term, ([], []))
                term_counts.append(count)  # before ids: a reader cuts both to the ids it sees
                ids.append(id_)
        self.size += len(entry.chunks)
        self._vectors[first : self.size] = vectors
        self.paths.append(entry.path)
        self.chunks += entry.chunks
        self.ranges[entry.path] = range(first, self.size)
        return self.ranges[entry.path]

    def rows(self) -> tuple[NDArray[np.float32], Columns]:
        """Vectors, shape (size, dim), and columns of what stands in the delta now; no copies."""
        file, length, start_line = self._columns[:, : self.size]
        return self._vectors[: self.size], Columns(file, length, start_line)

    def _reserve(self, extra: int) -> None:
        needed, capacity = self.size + extra, len(self._vectors)
        if needed > capacity:
            capacity = max(needed, 2 * capacity)
            vectors, columns = self.rows()
            self._vectors = np.empty((capacity, self.dim), np.float32)
            self._vectors[: self.size] = vectors
            self._columns = np.empty((3, capacity), np.int32)
            self._columns[:, : self.size] = columns

    def _decoded(self, entry: FileDelta) -> NDArray[np.float32]:
        shape = (len(entry.chunks), self.dim)
        if not entry.vectors:  # not embedded yet: found by its words alone
            return np.zeros(shape, np.float32)
        values = np.frombuffer(entry.vectors, "<f2")
        if values.size != shape[0] * shape[1]:
            message = f"{entry.path}: {values.size} vector values where {shape} was expected"
            raise FatalError(message)
        return values.reshape(shape).astype(np.float32)


class LiveDelta:
    """The delta as it stood when this was made: a `Segment`."""

    def __init__(self, delta: Delta, alive: NDArray[np.bool_]) -> None:
        self._delta = delta
        self._vectors, self.columns = delta.rows()
        self.alive = alive

    @classmethod
    def empty(cls, dim: int) -> LiveDelta:
        """A delta that nothing was put into."""
        return cls(Delta(dim), np.empty(0, np.bool_))

    def path(self, file: int) -> str:
        """Path of a file by number."""
        return self._delta.paths[file]

    def chunks_of(self, path: str) -> range:
        """Live chunks of a file; none where it has changed since."""
        chunks = self._delta.ranges.get(path, range(0))
        live = chunks and chunks.stop <= len(self.alive) and self.alive[chunks.start]
        return chunks if live else range(0)

    def postings(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""
        found = {term: self._posting(term) for term in terms if term in self._delta.postings}
        return {term: posting for term, posting in found.items() if len(posting.ids)}

    def all_postings(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""
        for term in sorted(self._delta.postings):
            yield term, self._posting(term)

    def nearest(self, vectors: NDArray[np.float32], k: int) -> Neighbours:
        """Live chunks nearest to each row of `vectors`, shape (n, dim)."""
        scores = vectors @ self._vectors.T
        scores[:, ~self.alive] = -np.inf
        k = min(k, scores.shape[1])
        ids = (
            np.argpartition(-scores, k - 1, axis=1)[:, :k]
            if k
            else np.empty((len(vectors), 0), np.int64)
        )
        best = np.take_along_axis(scores, ids, axis=1)
        return Neighbours(np.where(np.isneginf(best), -1, ids), best)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of the given chunks, shape (len(ids), dim)."""
        return self._vectors[ids]

    def matrix(self) -> NDArray[np.float32]:
        """Every vector: shape (size, dim)."""
        return self._vectors

    def rough(self) -> None:
        """None: what changes is compared exactly."""
        return

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        """The chunks themselves, in the order asked for."""
        return [self._delta.chunks[id_] for id_ in ids]

    def _posting(self, term: str) -> Posting:
        ids, counts = self._delta.postings[term]
        seen = bisect_left(ids, len(self.alive))
        return Posting(np.array(ids[:seen], np.int32), np.array(counts[:seen], np.uint16))
