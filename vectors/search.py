"""Hybrid search over segments: gather candidates by words and by vectors, then fuse by score.

Fusion is a weighted sum of signals, each divided by its best value among the candidates. The
weights come from a prototype on commit subjects against the trees before them (three repositories,
300 each; a touched file among the top five: 74 % fused, 68 % lexical, 61 % dense).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.candidates import gather
from vectors.groups import Groups
from vectors.memory import Memory, Similar, Work
from vectors.naming import or_named
from vectors.relevance import Evidence, are_relevant, evidence, signals
from vectors.view import Place
from vectors.words import stand_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from vectors.candidates import Candidates
    from vectors.view import View

_COHERENCE_DEPTH = 50
_POINTS = 100_000
_TINY = 1e-9
_SEGMENT = 1 << 32  # a segment has fewer chunks


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


class Ranked(NamedTuple):
    """One result: a place and its score, 0-1."""

    place: Place
    score: float


DEFAULT = Fusion()


class Rows(NamedTuple):
    """The best candidates of several texts, by ascending text; each of shape (n,).

    Attributes:
        row: of the candidate.
        text: number of the text.
        score: 0-1, to five decimals; NaN where a cosine of the text is.
    """

    row: NDArray[np.int64]
    text: NDArray[np.int64]
    score: NDArray[np.float64]


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
        memories: for each text, how much similar work touched which files; where they are given,
            a text that is about something else finds nothing (`vectors.relevance`).
        fusion: weights and floors.

    Returns:
        For each text at most k results, best first; none where nothing is relevant.
    """
    if k < 1 or not view.chunk_count or not texts:
        return [[] for _ in texts]
    found = gather(view, texts, vectors, memories or [Memory()] * len(texts))
    ranked = fuse(found, len(texts), k, partial(_place, view, found), fusion)
    if vectors is None or memories is None:  # words alone cannot tell
        return ranked
    fits = are_about(found, view.chunk_count, memories)
    fits = or_named(fits, texts, partial(stand_together, view))
    return [each if fit else [] for each, fit in zip(ranked, fits, strict=True)]


def are_about(candidates: Candidates, size: int, memories: Sequence[Memory]) -> NDArray[np.bool_]:
    """Whether texts are about a collection, by what was found for them; see `vectors.relevance`.

    Args:
        candidates: of all texts.
        size: chunks in the collection.
        memories: of each text.
    """
    files = evidence(
        candidates.text, candidates.dense, candidates.coverage, texts=len(memories), size=size
    )
    recalled = np.array([memory.strength for memory in memories])
    history = Evidence(recalled, np.array([memory.size for memory in memories]))
    return are_relevant(signals(files, history))


def similar_work(
    view: View,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    k: int,
    fusion: Fusion = DEFAULT,
) -> list[Similar]:
    """Find the pieces of past work most like each text; see `Collection.similar_work`."""
    if k < 1 or not view.chunk_count or not texts:
        return [Similar([], np.empty(0), 0.0)] * len(texts)
    found = gather(view, texts, vectors, [Memory()] * len(texts))
    rows, of, scores = best(found, k, fusion)
    keys, at = np.unique(found.segment[rows] * _SEGMENT + found.id[rows], return_inverse=True)
    read = partial(_read_work, view)
    distinct = view.lasting.work.get(keys.tolist(), read, attrgetter("nbytes"))
    work = [distinct[number] for number in at.tolist()]
    ends = np.searchsorted(of, np.arange(len(texts) + 1)).tolist()
    fits = evidence(
        found.text, found.dense, found.coverage, texts=len(texts), size=view.chunk_count
    )
    return [
        Similar(work[begin:end], scores[begin:end], strength)
        for (begin, end), strength in zip(pairwise(ends), fits.strength.tolist(), strict=True)
    ]


def _read_work(view: View, keys: Sequence[int]) -> list[Work]:
    """Read pieces of past work, by the number of their segment and their own."""
    places = [divmod(key, _SEGMENT) for key in keys]
    found: dict[tuple[int, int], Work] = {}
    for number, segment in enumerate(view.segments):
        ids = [id_ for of, id_ in places if of == number]
        files = segment.columns.file[ids].tolist()
        for id_, file, chunk in zip(ids, files, segment.chunks(ids), strict=True):
            found[number, id_] = Work.read(segment.path(file), chunk.text)
    return [found[place] for place in places]


def fuse(
    candidates: Candidates,
    count: int,
    k: int,
    place: Callable[[int], Place],
    fusion: Fusion = DEFAULT,
) -> list[list[Ranked]]:
    """Rank the candidates of each of `count` texts by the weighted sum of their signals.

    Args:
        candidates: of all texts.
        count: of texts.
        k: most results per text.
        place: gives the place of a candidate by its row.
        fusion: weights and floors.

    Returns:
        For each text at most k results above the floor, by falling score, then path, then line.
    """
    ranked: list[list[Ranked]] = [[] for _ in range(count)]
    rows, texts, scores = best(candidates, k, fusion)
    for row, text, score in zip(rows.tolist(), texts.tolist(), scores.tolist(), strict=True):
        ranked[text].append(Ranked(place(row), score))
    return [_spread(sorted(each, key=_order), k, fusion.per_file) for each in ranked]


def best(candidates: Candidates, k: int, fusion: Fusion = DEFAULT) -> Rows:
    """Rank candidates, places apart.

    Returns:
        Of each text the best chunk of every file that scores as high as the k-th best file, ties
        included; where there are fewer files, all that is relevant.
    """
    if not len(candidates.id):
        return Rows(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    texts = Groups.of(candidates.text)
    files = Groups.of(candidates.file, candidates.text)
    points = _score(candidates, texts, files, fusion)
    of_files = Groups.of(candidates.text[files.starts])
    kth = of_files.kth_highest(files.highest(points), k)
    fewer = (of_files.sizes < k) | (kth < 0)
    wanted = files.is_leading(points) | texts.spread(fewer)
    kept = (wanted & (points >= texts.spread(np.where(fewer, 0, kth)))).nonzero()[0]
    unsound = texts.spread(np.isnan(texts.highest(candidates.dense)))
    scores = np.where(unsound, np.nan, points / _POINTS)
    return Rows(kept, candidates.text[kept], scores[kept])


def _score(
    candidates: Candidates, texts: Groups, files: Groups, fusion: Fusion
) -> NDArray[np.int64]:
    """Weigh the signals of candidates.

    Returns:
        Shape (n,): points out of 100,000, so that the order of summation cannot decide a tie; -1
        where a candidate is not relevant.
    """
    relevance = (
        fusion.lexical * _relative(candidates.lexical, texts)
        + fusion.dense * _relative(candidates.dense, texts)
        + fusion.path * _relative(candidates.path, texts)
    )
    coherence = _coherence(relevance, texts, files)
    remembers = texts.spread(texts.highest(candidates.memory) > 0)
    weights = fusion.lexical + fusion.dense + fusion.path + fusion.coherence
    scores = (
        relevance + fusion.coherence * coherence + fusion.memory * candidates.memory
    ) / np.where(remembers, weights + fusion.memory, weights)
    relevant = (
        (candidates.dense >= fusion.least_dense)
        | (candidates.coverage >= fusion.least_coverage)
        | (candidates.memory >= fusion.least_memory)
    )
    return np.where(relevant, _points(scores), -1)


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
    return sorted([*chain.from_iterable(rounds)][:k], key=_order)


def _order(result: Ranked) -> tuple[float, Place]:
    return -result.score, result.place


def _place(view: View, candidates: Candidates, row: int) -> Place:
    number, id_ = int(candidates.segment[row]), int(candidates.id[row])
    segment = view.segments[number]
    file, _, start_line = segment.columns
    return Place(segment.path(int(file[id_])), int(start_line[id_]), number, id_)


def _relative(signal: NDArray[np.float32], texts: Groups) -> NDArray[np.float32]:
    """A signal divided by its best value for the text; 0 where it is absent or negative."""
    best = np.maximum(texts.highest(signal), np.float32(_TINY))
    return np.asarray(np.maximum(signal, 0) / texts.spread(best), np.float32)


def _coherence(relevance: NDArray[np.float32], texts: Groups, files: Groups) -> NDArray[np.float32]:
    """How much of the best candidates' relevance lies in each candidate's file, best file 1."""
    points = _points(relevance)
    among_best = points >= texts.spread(texts.kth_highest(points, _COHERENCE_DEPTH))
    sums = np.add.reduceat(np.where(among_best, relevance, 0), files.starts)
    return _relative(files.spread(sums), texts)


def _points(values: NDArray[np.floating]) -> NDArray[np.int64]:
    whole = np.rint(values.astype(np.float64) * _POINTS)
    np.copyto(whole, _POINTS, where=np.isnan(whole))
    return whole.astype(np.int64)
