"""Scoring by words: BM25 over body, symbol and path, with the path as a field of its own too.

A term's share of every chunk's score is worked out once per view and remembered, so that a query
adds up arrays. In a segment of very many chunks, rare terms are added up until their postings come
to `_BUDGET`; commoner ones only where a chunk was found already (Turtle & Flood, "Query evaluation:
strategies and optimizations", 1995: a term that weighs little need not propose).
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.groups import firsts
from vectors.lexical import K1, PATH_MARK, Posting, idf, query_terms, query_weight, saturation
from vectors.similarity import highest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vectors.segment import Columns, Segment
    from vectors.view import View

MOST_SCORED_TERMS = 24
_EXHAUSTIVE = 1 << 17  # chunks of a segment up to which every posting is added up
_BUDGET = 1 << 16
_FOUND = 2_000  # chunks that rare terms propose, for common ones to add to
_TINY = 1e-9
_COMMON = 8  # a term is, if one in so many chunks has it
_RANK = attrgetter("rank")
_NO_FILES = np.empty(0, np.int64)
_NONE = Posting(np.empty(0, np.int32), np.empty(0, np.uint16))


class Share:
    """What one term adds to the chunks of one segment.

    Attributes:
        posting: where it occurs, live chunks only.
        files: shape (m,), numbers of the files it occurs in the path of.
    """

    __slots__ = ("_columns", "_ids", "_parts", "_scale", "files", "posting")

    def __init__(
        self,
        posting: Posting,
        files: NDArray[np.int64],
        columns: Columns,
        scale: tuple[float, float],
    ) -> None:
        """Work out nothing yet; `scale` is the term's weight and the mean length of a chunk."""
        self.posting = posting
        self.files = files
        self._columns = columns
        self._scale = scale
        self._ids: NDArray[np.int64] | None = None
        self._parts: NDArray[np.float32] | None = None

    @property
    def ids(self) -> NDArray[np.int64]:
        """The chunks it occurs in, as NumPy wants indices; it would turn them each time."""
        if self._ids is None:
            self._ids = self.posting.ids.astype(np.int64)
        return self._ids

    @property
    def nbytes(self) -> int:
        """Memory that it takes once it was added, about; the postings of a base are mapped."""
        size, occurrences = len(self._columns.length), len(self.posting.ids)
        added = size <= _EXHAUSTIVE or occurrences <= _BUDGET
        of_parts = 4 * size if self._common else 12 * occurrences if added else 0
        own = 6 * occurrences if self.posting.ids.flags.owndata else 0
        return 100 + own + of_parts + 8 * len(self.files)

    def add(self, scores: NDArray[np.float32]) -> None:
        """Add to the scores of all chunks."""
        if self._parts is None:
            parts = self._part(self.posting.counts, self.posting.ids)
            if self._common:
                self._parts = np.zeros(len(scores), np.float32)
                self._parts[self.posting.ids] = parts
            else:
                self._parts = parts
        if self._common:
            scores += self._parts
        else:
            scores[self.ids] += self._parts

    def add_where(self, scores: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Add to the scores of the given chunks only, which are in ascending order."""
        if not len(self.posting.ids):
            return
        # Of one kind: of two, NumPy would turn the long array each time.
        wanted = ids.astype(self.posting.ids.dtype)
        at = np.minimum(np.searchsorted(self.posting.ids, wanted), len(self.posting.ids) - 1)
        there = self.posting.ids[at] == ids
        scores[ids[there]] += self._part(self.posting.counts[at[there]], ids[there])

    @property
    def _common(self) -> bool:
        """Whether it occurs so often that adding up whole rows is quicker than chunk by chunk."""
        size = len(self._columns.length)
        return size <= _EXHAUSTIVE and _COMMON * len(self.posting.ids) > size

    def _part(self, counts: NDArray[np.uint16], ids: NDArray[np.integer]) -> NDArray[np.float32]:
        weight, mean_length = self._scale
        return np.float32(weight) * saturation(counts, self._columns.length[ids], mean_length)


class Term(NamedTuple):
    """How a term weighs in a view.

    Attributes:
        rank: its place among terms, the rarest first.
        weight: its idf.
        path_weight: its idf among paths.
        shares: of each segment.
        occurs: whether it is scored at all.
    """

    rank: tuple[float, str]
    weight: float
    path_weight: float
    shares: tuple[Share, ...]
    occurs: bool

    @property
    def nbytes(self) -> int:
        """Size, about."""
        return 300 + sum(each.nbytes for each in self.shares)


class Query(NamedTuple):
    """A text as words.

    Attributes:
        terms: those that occur anywhere and are scored, the rarest first.
        ideal: the best possible score.
    """

    terms: list[Term]
    ideal: float


def read(view: View, texts: Sequence[str]) -> list[Query]:
    """Look up the terms of several texts."""
    wanted = [query_terms(text) for text in texts]
    distinct = list(dict.fromkeys(term for terms in wanted for term in terms))
    found = view.terms.get(distinct, lambda terms: _weigh(view, terms), lambda term: term.nbytes)
    known = dict(zip(distinct, found, strict=True))
    return [_query(terms, known) for terms in wanted]


def stand_together(view: View, terms: Sequence[str]) -> bool:
    """Whether one chunk has all of the terms."""
    return any(
        _have_common([posting.ids for posting in _postings(view, number, [*terms])])
        for number in range(len(view.segments))
    )


def _have_common(ids: Sequence[NDArray[np.int32]]) -> bool:
    """Whether ascending arrays have an element in common; the shortest is looked up in the rest."""
    common, *rest = sorted(ids, key=len)
    for each in rest:
        if not len(common):
            return False
        common = common[each[np.minimum(np.searchsorted(each, common), len(each) - 1)] == common]
    return bool(len(common))


class Scores:
    """Scores of the chunks of one segment, one query after the other."""

    def __init__(self, view: View, number: int) -> None:
        """Prepare for a segment by its number in a view; it has chunks."""
        self._columns = view.segments[number].columns
        self._number = number
        size = len(self._columns.file)
        self._exhaustive = size <= _EXHAUSTIVE
        self._body = np.zeros(size, np.float32)
        self._path = np.zeros(int(self._columns.file[-1]) + 1, np.float32)  # numbered in order
        self._written: list[NDArray[np.int64]] = []

    def score(self, query: Query, others: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Score one query, until the next one is scored.

        Args:
            query: what is asked.
            others: chunks that are candidates whatever their words.
            count: most chunks that words may propose.

        Returns:
            The candidates by ascending id: the best by words, and the others.
        """
        self._clear()
        late = self._add_up(query)
        if self._exhaustive:
            return _union(highest(self._body, count, above=0), others)
        written = np.concatenate([*self._written, others])
        ids = _union(written[highest(self._body[written], _FOUND, above=0)], others)
        for share in late:
            share.add_where(self._body, ids)
        self._written.append(ids)
        return _union(ids[highest(self._body[ids], count, above=0)], others)

    def _clear(self) -> None:
        """Forget the query before; of very many chunks only those that have scores are touched."""
        self._path.fill(0)
        if self._exhaustive:
            self._body.fill(0)
        for ids in self._written:
            self._body[ids] = 0
        self._written = []

    def of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores of the given chunks by body, and by path, each of shape (len(ids),)."""
        return self._body[ids], self._path[self._columns.file[ids]]

    def _add_up(self, query: Query) -> list[Share]:
        """Add up rare terms; returns those that are too common for that."""
        late, spent = [], 0
        for term in query.terms:
            share = term.shares[self._number]
            if len(share.files):
                self._path[share.files] += np.float32(term.path_weight)
            count = len(share.posting.ids)
            if spent and spent + count > _BUDGET and not self._exhaustive:
                late.append(share)
            elif count:
                share.add(self._body)
                spent += count
                if not self._exhaustive:
                    self._written.append(share.ids)
        return late


def _query(terms: Sequence[str], known: Mapping[str, Term]) -> Query:
    found = [known[term] for term in terms]
    ideal = (K1 + 1) * sum([term.weight for term in found])
    found.sort(key=_RANK)
    return Query([term for term in found if term.occurs][:MOST_SCORED_TERMS], max(ideal, _TINY))


def _weigh(view: View, terms: Sequence[str]) -> list[Term]:
    wanted = [*terms, *(PATH_MARK + term for term in terms)]
    found = [_postings(view, number, wanted) for number in range(len(view.segments))]
    return [
        _term(view, term, [(each[at], each[at + len(terms)]) for each in found])
        for at, term in enumerate(terms)
    ]


def _term(view: View, term: str, postings: Sequence[tuple[Posting, Posting]]) -> Term:
    """Weigh a term by its postings in each segment: of bodies, and of paths."""
    in_bodies = sum([len(body.ids) for body, _ in postings])
    in_paths = sum([len(path.ids) for _, path in postings])
    weight = query_weight(term, in_bodies, view.chunk_count)
    scale = (weight, view.mean_length)
    shares = tuple(
        Share(body, _files(segment.columns, path), segment.columns, scale)
        for segment, (body, path) in zip(view.segments, postings, strict=True)
    )
    return Term((-weight, term), weight, idf(in_paths, view.chunk_count), shares, in_bodies > 0)


def _files(columns: Columns, posting: Posting) -> NDArray[np.int64]:
    """Numbers of the files that the chunks of a posting belong to; those of one stand together."""
    if not len(posting.ids):
        return _NO_FILES
    files = columns.file[posting.ids]
    return np.asarray(files[firsts(files)], np.int64)


def _postings(view: View, number: int, terms: list[str]) -> list[Posting]:
    """Where each term occurs in live chunks of a segment."""
    segment = view.segments[number]
    there = segment.postings(terms)
    every = [there.get(term, _NONE) for term in terms]
    return every if view.whole[number] else [_live(segment, posting) for posting in every]


def _live(segment: Segment, posting: Posting) -> Posting:
    keep = segment.alive[posting.ids]
    return Posting(posting.ids[keep], posting.counts[keep])


def _union(*ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct ids, ascending."""
    every = np.concatenate(ids)
    every.sort()
    return np.asarray(every[firsts(every)])
