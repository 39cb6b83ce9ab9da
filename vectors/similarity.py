"""How near the chunks of a segment are to each text of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vectors.segment import Segment

_GROUPS = 4  # times as many as are wanted


class Similarity:
    """Cosines of n texts with the chunks of one segment.

    Where the segment has its vectors at hand they are one product of matrices, made once for the
    whole batch; otherwise its index finds the nearest and the others are computed when asked for.
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
        matrix = segment.matrix()
        self._all = None if matrix is None else vectors @ matrix

    def nearest(self, count: int) -> list[NDArray[np.int64]]:
        """Ids of the live chunks nearest to each text, in no order."""
        if self._all is None:
            found = self._segment.nearest(self._vectors, count).ids
            return [ids[ids >= 0] for ids in found]
        if self._whole:
            return [highest(row, count) for row in self._all]
        alive = self._segment.alive
        return [highest(np.where(alive, row, -np.inf), count) for row in self._all]

    def of(self, texts: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines of pairs, a text by its row and a chunk by its id, each of shape (pairs,)."""
        if self._all is not None:
            return self._all[texts, ids]
        chunks, place = np.unique(ids, return_inverse=True)
        rows = self._segment.vectors(chunks)[place]
        found: NDArray[np.float32] = np.einsum("ij,ij->i", rows, self._vectors[texts])
        return found


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
    kept[np.flatnonzero(values == least)[: count - int(np.count_nonzero(kept))]] = True
    return np.asarray(found[kept])


def _floor(scores: NDArray[np.float32], count: int) -> float:
    """A value that at least `count` scores reach, if there are so many."""
    size = len(scores) // (_GROUPS * count)
    if size < 2:  # noqa: PLR2004 - groups of one are no groups
        return -np.inf
    groups = len(scores) // size
    best = scores[: groups * size].reshape(size, groups).max(axis=0)
    return float(np.partition(best, groups - count)[groups - count])
