"""Candidates of a search: chunks worth ranking, gathered by words, by vectors and by memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.lexical import K1, PATH_MARK, Posting, idf, query_terms, saturation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vectors.memory import Memory
    from vectors.segment import Segment

DEPTH = 100  # candidates that words, and likewise vectors, may bring
_MOST_SCORED_TERMS = 24
_TINY = 1e-9


class View(NamedTuple):
    """What one search sees: segments that do not change while it runs.

    Attributes:
        segments: a path lives in one of them only.
        chunk_count: live chunks in all of them.
        total_length: terms in all live chunks.
    """

    segments: tuple[Segment, ...]
    chunk_count: int
    total_length: int


class Place(NamedTuple):
    """Where a candidate stands; sorts by path and line, which is how ties are broken."""

    path: str
    start_line: int
    segment: int
    id: int


class Candidates(NamedTuple):
    """Chunks worth ranking, in order of place, with their raw signals, each of shape (n,).

    Attributes:
        coverage: lexical score as a share of the best possible one, 0-1.
        memory: how much similar work touched the file, 0-1.
    """

    places: list[Place]
    lexical: NDArray[np.float32]
    dense: NDArray[np.float32]
    path: NDArray[np.float32]
    coverage: NDArray[np.float32]
    memory: NDArray[np.float32]


class _Words(NamedTuple):
    """Lexical signals of one segment, each of shape (size,), and the best possible score."""

    body: NDArray[np.float32]
    path: NDArray[np.float32]


def gather(
    view: View,
    text: str,
    vector: NDArray[np.float32] | None,
    near: Sequence[NDArray[np.int64]],
    memory: Memory,
) -> Candidates:
    """Gather the candidates for one text.

    Args:
        view: what to search.
        text: any text at all.
        vector: its embedding, shape (dim,); None goes by words alone.
        near: for each segment, ids of the chunks nearest to the vector, -1 for none.
        memory: how much similar work touched which files.
    """
    words, ideal = _words(view, query_terms(text))
    rows: list[tuple[Place, float, float, float]] = []
    for number, segment in enumerate(view.segments):
        ids = _most(words[number].body)
        if vector is not None:
            ids = np.union1d(ids, near[number][near[number] >= 0])
        ids = np.union1d(ids, _remembered(segment, memory, vector))
        dense = np.zeros(len(ids)) if vector is None else segment.vectors(ids) @ vector
        columns = segment.columns
        found = (
            Place(segment.path(file), start_line, number, id_)
            for id_, file, start_line in zip(
                ids.tolist(),
                columns.file[ids].tolist(),
                columns.start_line[ids].tolist(),
                strict=True,
            )
        )
        signals = (words[number].body[ids], dense, words[number].path[ids])
        rows += zip(found, *(signal.tolist() for signal in signals), strict=True)
    rows.sort()
    lexical, dense, path = (
        np.array([row[column] for row in rows], np.float32) for column in (1, 2, 3)
    )
    places = [row[0] for row in rows]
    remembered = np.array([memory.get(place.path, 0.0) for place in places], np.float32)
    return Candidates(places, lexical, dense, path, lexical / np.float32(ideal), remembered)


def _remembered(
    segment: Segment, memory: Memory, vector: NDArray[np.float32] | None
) -> NDArray[np.int64]:
    """Ids of the best chunk of each file that is remembered: the nearest, or else the first."""
    files = [chunks for path in memory if (chunks := segment.chunks_of(path))]
    if vector is None:
        return np.array([chunks.start for chunks in files], np.int64)
    best = []
    for chunks in files:
        ids = np.arange(chunks.start, chunks.stop, dtype=np.int64)
        best.append(ids[int(np.argmax(segment.vectors(ids) @ vector))])
    return np.array(best, np.int64)


def _words(view: View, terms: Sequence[str]) -> tuple[list[_Words], float]:
    """BM25 and path scores of every chunk, on one scale over all segments."""
    wanted = [*terms, *(PATH_MARK + term for term in terms)]
    found = [_live_postings(segment, wanted) for segment in view.segments]
    weights = {
        term: idf(
            sum(len(postings[term].ids) for postings in found if term in postings), view.chunk_count
        )
        for term in wanted
    }
    ideal = (K1 + 1) * sum(weights[term] for term in terms)
    rarest = sorted(terms, key=lambda term: (-weights[term], term))
    present = [term for term in rarest if any(term in postings for postings in found)]
    scored = present[:_MOST_SCORED_TERMS]
    mean_length = max(view.total_length / view.chunk_count, 1.0)
    return [
        _score(segment, postings, scored, weights, mean_length)
        for segment, postings in zip(view.segments, found, strict=True)
    ], max(ideal, _TINY)


def _live_postings(segment: Segment, terms: Sequence[str]) -> dict[str, Posting]:
    found = segment.postings(terms)
    if segment.alive.all():
        return found
    live = {}
    for term, (ids, counts) in found.items():
        keep = segment.alive[ids]
        if keep.any():
            live[term] = Posting(ids[keep], counts[keep])
    return live


def _score(
    segment: Segment,
    postings: Mapping[str, Posting],
    terms: Sequence[str],
    weights: Mapping[str, float],
    mean_length: float,
) -> _Words:
    body = np.zeros(len(segment.alive), np.float32)
    path = np.zeros(len(segment.alive), np.float32)
    for term in terms:
        if term in postings:
            ids, counts = postings[term]
            part = saturation(counts, segment.columns.length[ids], mean_length)
            body[ids] += np.float32(weights[term]) * part
        marked = PATH_MARK + term
        if marked in postings:
            path[postings[marked].ids] += np.float32(weights[marked])
    return _Words(body, path)


def _most(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Ids of the `DEPTH` highest scores above zero."""
    found = np.flatnonzero(scores)
    if len(found) <= DEPTH:
        return found
    return found[np.argpartition(-scores[found], DEPTH)[:DEPTH]]
