"""How near the chunks of a segment are to each text of a batch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vectors.segment import Segment

_GROUPS = 4  # times as many as are wanted
_FEW = 8  # texts that BLAS multiplies faster one by one
_LOWEST = float(np.finfo(np.float32).min)


class Similarity:
    """Cosines of n texts with the chunks of one segment.

    Where the segment has its vectors at hand they are compared with the whole batch at once, those
    of a large one roughly at first, and exactly where that decides. Otherwise its index finds the
    nearest, and the others are computed when asked for.
    """

    def __init__(self, segment: Segment, vectors: NDArray[np.float32], *, whole: bool) -> None:
        """Compare.

        Args:
            segment: holds the chunks.
            vectors: shape (n, dim), L2-normalised.
            whole: whether all chunks are live.
        """
        self._segment = segment
        self._vectors = vectors
        self._whole = whole
        self._matrix = segment.matrix()
        self._slack = np.zeros(len(vectors), np.float32)
        self._all: NDArray[np.float32] | None = None
        if (rough := segment.rough()) is not None:
            self._all, self._slack = rough.cosines(vectors)
        elif self._matrix is not None:
            self._all = _product(vectors, self._matrix)

    def nearest(self, count: int) -> list[NDArray[np.int64]]:
        """Ids of the live chunks nearest to each text, in no order."""
        if self._all is None:
            found = self._segment.nearest(self._vectors, count).ids
            return [ids[ids >= 0] for ids in found]
        return [self._nearest(text, row, count) for text, row in enumerate(self._all)]

    def nearest_of(
        self, texts: NDArray[np.int64], starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Of runs of chunks the one nearest to a text, the first of equals.

        Args:
            texts: shape (m,), of each run, ascending.
            starts: shape (m,), the first chunk of each.
            sizes: shape (m,), at least 1.

        Returns:
            Shape (m,), ids.
        """
        begins = sizes.cumsum() - sizes
        run = np.arange(len(sizes)).repeat(sizes)
        ids = np.arange(len(run)) + (starts - begins)[run]
        if self._all is not None:
            rough = self._all[texts[run], ids]
            bound = np.maximum.reduceat(rough, begins) - 2 * self._slack[texts]
            near = (~(rough < bound[run])).nonzero()[0]
            run, ids = run[near], ids[near]
        cosines = self.of(texts[run], ids)
        highest = np.maximum.reduceat(cosines, np.searchsorted(run, np.arange(len(sizes))))
        best = (~(cosines < highest[run])).nonzero()[0]
        return np.asarray(ids[best[np.searchsorted(run[best], np.arange(len(sizes)))]])

    def of(self, texts: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines of pairs, a text by its row, ascending, and a chunk by its id."""
        if self._all is not None and not self._slack.any():
            return self._all[texts, ids]
        found = np.empty(len(ids), np.float32)
        ends = np.searchsorted(texts, np.arange(len(self._vectors) + 1)).tolist()
        for text, (begin, end) in enumerate(pairwise(ends)):
            found[begin:end] = self._exact(text, ids[begin:end])
        return found

    def _nearest(self, text: int, cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        if not self._whole:
            cosines = np.where(self._segment.alive, cosines, -np.inf)
        slack = float(self._slack[text])
        if not slack:
            return highest(cosines, count)
        bound = max(_floor(cosines, count) - 2 * slack, _LOWEST)
        near = (cosines >= bound).nonzero()[0]
        return np.asarray(near[highest(self._exact(text, near), count)])

    def _exact(self, text: int, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = self._segment.vectors(ids) if self._matrix is None else self._matrix.take(ids, 0)
        return np.asarray(rows @ self._vectors[text])


def _product(vectors: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products of all rows with all rows; of few, one by one."""
    if len(vectors) <= _FEW:
        return np.stack([matrix @ vector for vector in vectors])
    return np.asarray(vectors @ matrix.T)


def highest(scores: NDArray[np.float32], count: int, above: float = -np.inf) -> NDArray[np.int64]:
    """Positions of the `count` highest scores above a bound, ascending; of equal ones the first.

    A long row is cut into groups first: the best of each give a floor that at least `count` scores
    reach and few others, and only those are compared with one another. That takes a fifth of the
    time of a partition.
    """
    found = np.flatnonzero(
        scores >= floor if (floor := _floor(scores, count)) > above else scores > above
    )
    if len(found) <= count:
        return found
    values = scores[found]
    least = np.partition(values, len(values) - count)[len(values) - count]
    kept = values > least
    kept[(values == least).nonzero()[0][: count - int(np.count_nonzero(kept))]] = True
    return np.asarray(found[kept])


def _floor(scores: NDArray[np.float32], count: int) -> float:
    """A value that at least `count` scores reach, if there are so many."""
    size = len(scores) // (_GROUPS * count)
    if size < 2:  # noqa: PLR2004 - groups of one are no groups
        return -np.inf
    groups = len(scores) // size
    best = scores[: groups * size].reshape(size, groups).max(axis=0)
    return float(np.partition(best, groups - count)[groups - count])
