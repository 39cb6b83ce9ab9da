"""Candidates of a search: chunks worth ranking, gathered by words, by vectors and by memory."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vectors.similarity import Similarity
from vectors.words import Scores, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vectors.memory import Memory
    from vectors.segment import Segment
    from vectors.view import View
    from vectors.words import Query

DEPTH = 100  # candidates that words, and likewise vectors, may bring
_NOTHING = np.empty(0, np.int64)


class Candidates(NamedTuple):
    """Chunks worth ranking for several texts, with their raw signals, each of shape (n,).

    Those of one text stand together, and among them those of one file, by ascending line.

    Attributes:
        text: number of the text, ascending.
        segment: number of the segment.
        id: of the chunk in its segment.
        file: any number that is the same for chunks of one file and another for other files.
        lexical: BM25 over body, symbol and path.
        dense: cosine.
        path: what the text's words in the path of the file weigh.
        coverage: lexical score as a share of the best possible one, 0-1.
        memory: how much similar work touched the file, 0-1.
    """

    text: NDArray[np.int64]
    segment: NDArray[np.int64]
    id: NDArray[np.int64]
    file: NDArray[np.int64]
    lexical: NDArray[np.float32]
    dense: NDArray[np.float32]
    path: NDArray[np.float32]
    coverage: NDArray[np.float32]
    memory: NDArray[np.float32]


def gather(
    view: View,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    memories: Sequence[Memory],
) -> Candidates:
    """Gather the candidates for several texts.

    Args:
        view: what to search.
        texts: n texts.
        vectors: their embeddings, shape (n, dim), L2-normalised; None goes by words alone.
        memories: for each text, how much similar work touched which files.
    """
    if vectors is not None:
        vectors = np.ascontiguousarray(vectors, np.float32)
    queries = read(view, texts)
    parts = [
        _gather(view, number, queries, vectors, memories)
        for number, segment in enumerate(view.segments)
        if len(segment.alive)
    ]
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([part.text for part in parts]), kind="stable")
    columns: Any = (np.concatenate(column)[order] for column in zip(*parts, strict=True))
    return Candidates(*columns)


def _gather(
    view: View,
    number: int,
    queries: Sequence[Query],
    vectors: NDArray[np.float32] | None,
    memories: Sequence[Memory],
) -> Candidates:
    segment = view.segments[number]
    similar = None if vectors is None else Similarity(segment, vectors, whole=view.whole[number])
    near = [_NOTHING] * len(queries) if similar is None else similar.nearest(DEPTH)
    remembered, weights = _remembered(segment, similar, memories)
    scores = Scores(view, number)
    ids, lexical, path = [], [], []
    for at, query in enumerate(queries):
        found = scores.score(query, np.concatenate((near[at], remembered[at])), DEPTH)
        body, in_path = scores.of(found)
        ids.append(found)
        lexical.append(body)
        path.append(in_path)
    text = np.repeat(np.arange(len(queries)), [len(each) for each in ids])
    chunk, body = np.concatenate(ids), np.concatenate(lexical)
    file = segment.columns.file[chunk].astype(np.int64)
    ideal = np.array([query.ideal for query in queries], np.float32)
    return Candidates(
        text,
        np.full(len(chunk), number),
        chunk,
        (number << 32) + file,
        body,
        np.zeros(len(chunk), np.float32) if similar is None else similar.of(text, chunk),
        np.concatenate(path),
        body / ideal[text],
        weights.of(text, file),
    )


class _Weights(NamedTuple):
    """How much is remembered of files, shape (m,): by text and file number, ascending."""

    keys: NDArray[np.int64]
    values: NDArray[np.float32]

    def of(self, text: NDArray[np.int64], file: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weights of pairs of text and file; 0 where nothing is remembered."""
        if not len(self.keys):
            return np.zeros(len(text), np.float32)
        keys = _key(text, file)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.values[at], np.float32(0))


def _remembered(
    segment: Segment, similar: Similarity | None, memories: Sequence[Memory]
) -> tuple[list[NDArray[np.int64]], _Weights]:
    """Of each file that is remembered the nearest chunk, or else the first; and its weight."""
    rows = [
        (text, chunks.start, len(chunks), weight)
        for text, memory in enumerate(memories)
        for path, weight in memory.items()
        if (chunks := segment.chunks_of(path))
    ]
    if not rows:
        return [_NOTHING] * len(memories), _Weights(_NOTHING, np.empty(0, np.float32))
    columns = zip(*rows, strict=True)
    text, start, size = (np.array(next(columns), np.int64) for _ in range(3))
    weight = np.array(next(columns), np.float32)
    best = start if similar is None else similar.nearest_of(text, start, size)
    ends = np.searchsorted(text, np.arange(len(memories) + 1))
    keys = _key(text, segment.columns.file[start].astype(np.int64))
    order = np.argsort(keys)
    ids = [best[begin:end] for begin, end in pairwise(ends.tolist())]
    return ids, _Weights(keys[order], weight[order])


def _key(text: NDArray[np.int64], file: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((text << 32) + file)
