"""Hybrid search over segments: gather candidates by words and by vectors, then fuse by score.

Fusion is a weighted sum of signals, each divided by its best value among the candidates. The
weights come from a prototype on commit subjects against the trees before them (three repositories,
300 each; a touched file among the top five: 74 % fused, 68 % lexical, 61 % dense).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.lexical import K1, PATH_MARK, Posting, idf, query_terms, saturation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from vectors.memory import Memory
    from vectors.segment import Segment

_DEPTH = 100
_MOST_SCORED_TERMS = 24
_COHERENCE_DEPTH = 50
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Fusion:
    """How signals are weighed and what is kept.

    Attributes:
        lexical: weight of BM25 over body, symbol and path.
        dense: weight of the cosine.
        path: weight of query terms that stand in the path.
        coherence: weight of how much of the best candidates lies in the same file.
        memory: weight of how much similar work touched the file (`vectors.memory`).
        per_file: most results of one file; a second one only where files are fewer than k.
        least_dense: a chunk below this cosine and below `least_coverage` is not relevant at all.
        least_coverage: share of the best possible BM25 score of the query, 0-1.
        least_memory: what similar work touched so much is relevant, whatever it says.
    """

    lexical: float = 1.0
    dense: float = 0.5
    path: float = 0.35
    coherence: float = 0.3
    memory: float = 1.0
    per_file: int = 2
    least_dense: float = 0.25
    least_coverage: float = 0.12
    least_memory: float = 0.3


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


class Ranked(NamedTuple):
    """One result: a place and its score, 0-1."""

    place: Place
    score: float


DEFAULT = Fusion()


def search(  # noqa: PLR0913 - what is searched, for what, and how
    view: View,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    k: int,
    memories: Sequence[Memory] | None = None,
    *,
    fusion: Fusion = DEFAULT,
) -> list[list[Ranked]]:
    """Find the best chunks for each text.

    Args:
        view: what to search.
        texts: any text at all.
        vectors: shape (len(texts), dim), L2-normalised; None searches by words alone.
        k: most results per text.
        memories: for each text, how much similar work touched which files.
        fusion: weights and floors.

    Returns:
        For each text at most k results, best first; none where nothing is relevant.
    """
    if k < 1 or not view.chunk_count:
        return [[] for _ in texts]
    memories = memories or [{}] * len(texts)
    if vectors is None:
        return [
            fuse(_candidates(view, text, None, (), memory), k, fusion)
            for text, memory in zip(texts, memories, strict=True)
        ]
    vectors = np.ascontiguousarray(vectors, np.float32)
    near = [segment.nearest(vectors, _DEPTH) for segment in view.segments]
    return [
        fuse(_candidates(view, text, vectors[row], [n.ids[row] for n in near], memory), k, fusion)
        for row, (text, memory) in enumerate(zip(texts, memories, strict=True))
    ]


def fuse(candidates: Candidates, k: int, fusion: Fusion = DEFAULT) -> list[Ranked]:
    """Rank candidates by the weighted sum of their signals; a pure function.

    Returns:
        At most k results above the floor, by falling score, then path, then line.
    """
    relevance = (
        fusion.lexical * _relative(candidates.lexical)
        + fusion.dense * _relative(candidates.dense)
        + fusion.path * _relative(candidates.path)
    )
    scores = relevance + fusion.coherence * _coherence(candidates.places, relevance)
    weights = fusion.lexical + fusion.dense + fusion.path + fusion.coherence
    if candidates.memory.any():
        scores += fusion.memory * candidates.memory
        weights += fusion.memory
    scores /= weights
    # Rounded so that the order of summation cannot decide a tie.
    scores = np.round(scores.astype(np.float64), 5)
    relevant = (
        (candidates.dense >= fusion.least_dense)
        | (candidates.coverage >= fusion.least_coverage)
        | (candidates.memory >= fusion.least_memory)
    )
    order = np.argsort(-scores, kind="stable")
    ranked = (
        Ranked(candidates.places[number], float(scores[number]))
        for number in order[relevant[order]].tolist()
    )
    return _spread(ranked, k, fusion.per_file)


def _spread(ranked: Iterable[Ranked], k: int, per_file: int) -> list[Ranked]:
    """The best chunk of each of k files; where there are fewer files, further chunks of them."""
    rounds: list[list[Ranked]] = [[] for _ in range(per_file)]
    taken: dict[str, int] = {}
    for result in ranked:
        before = taken.get(result.place.path, 0)
        if before < per_file:
            taken[result.place.path] = before + 1
            rounds[before].append(result)
        if len(rounds[0]) == k:
            break
    chosen = list(chain.from_iterable(rounds))[:k]
    return sorted(chosen, key=lambda result: (-result.score, result.place))


def _relative(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """A signal divided by its best value; 0 where it is absent or negative."""
    best = max(float(signal.max(initial=0)), _TINY)
    return np.divide(np.maximum(signal, 0), best, dtype=np.float32)


def _coherence(places: Sequence[Place], relevance: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of the best candidates' relevance lies in each candidate's file, best file 1."""
    best = np.argsort(-np.round(relevance, 5), kind="stable")[:_COHERENCE_DEPTH]
    sums: dict[str, float] = {}
    for number in best.tolist():
        path = places[number].path
        sums[path] = sums.get(path, 0.0) + float(relevance[number])
    return _relative(np.array([sums.get(place.path, 0.0) for place in places], np.float32))


class _Words(NamedTuple):
    """Lexical signals of one segment, each of shape (size,), and the best possible score."""

    body: NDArray[np.float32]
    path: NDArray[np.float32]


def _candidates(
    view: View,
    text: str,
    vector: NDArray[np.float32] | None,
    near: Sequence[NDArray[np.int64]],
    memory: Memory,
) -> Candidates:
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
    """Ids of the `_DEPTH` highest scores above zero."""
    found = np.flatnonzero(scores)
    if len(found) <= _DEPTH:
        return found
    return found[np.argpartition(-scores[found], _DEPTH)[:_DEPTH]]
