"""What earlier work says about new work: whoever did something like it touched these files.

A history is a collection whose files are pieces of past work, commits or finished tasks, of one
chunk each: in its first paragraph what was said, below it the paths that were touched. What is
asked is answered by the files of the most similar work. On eight repositories, 300 later commits
each, a touched file was among the first five for 85 % with it and for 77 % without
(docs/retrieval.md).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from functools import cache
from itertools import accumulate, islice, pairwise
from operator import neg
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.types import CHANGE, Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from vectors.engine import Searched
    from vectors.types import Hit


class Memory(dict[str, float]):
    """How much similar work touched each file, by path; the most remembered has 1.

    Attributes:
        strength: how well the text fits past work at all, see `vectors.relevance.Evidence`.
        size: pieces of past work that there are.
        unit: what 1 stands for, to compare with what other histories remember.
    """

    strength: float = 0.0
    size: int = 0
    unit: float = 1.0

    def fit(self, other: Memory) -> None:
        """Take over how well the text fits another history, if that is better."""
        if other.strength > self.strength:
            self.strength, self.size = other.strength, other.size


HISTORY = "-history"
"""Ends the name of the collection that remembers for another one."""

_SIMILAR = 50  # pieces of work that are looked at; 20 and 200 do no better
_FILES = 20
_HALF_LIFE_DAYS = 1_000.0  # of half of the weight; 300 and none do no better
_OLDEST = date(1970, 1, 1).toordinal()


def change(said: str, paths: Iterable[str]) -> Chunk:
    """A piece of past work as a history keeps it.

    Args:
        said: a commit's subject, a task's description.
        paths: what it touched.
    """
    body = "\n".join(paths)
    text = f"{' '.join(said.split())}\n\n{body}"
    return Chunk(start_line=1, end_line=text.count("\n") + 1, kind=CHANGE, text=text)


def change_path(day: str, name: str) -> str:
    """Path of a piece of past work in its history: `2026-11-22/5dc781f0bd5f`."""
    return f"{day}/{name}"


def remember(
    history: Searched,
    of: Searched,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
) -> list[Memory]:
    """Find the files that work like each text has touched.

    Args:
        history: the collection that keeps it.
        of: the collection of the files; what it no longer holds is not remembered.
        texts: n texts.
        vectors: their embeddings, shape (n, dim), L2-normalised; None goes by words alone.
    """
    if not history.chunk_count:
        return [Memory()] * len(texts)
    found = history.similar_work(texts, vectors, _SIMILAR)
    holds = cache(of.holds)
    memories = [
        _files_of(each.work, weights, holds)
        for each, weights in zip(found, _weights(found), strict=True)
    ]
    for memory, each in zip(memories, found, strict=True):
        memory.strength, memory.size = each.strength, history.chunk_count
    return memories


def retrieve(
    collection: Searched,
    history: Searched | None,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    k: int = 5,
) -> list[list[Hit]]:
    """Find chunks for several texts, by what they say and by what earlier work says of their files.

    Args:
        collection: what is searched.
        history: the collection that remembers for it, if there is one.
        texts: n texts.
        vectors: their embeddings, shape (n, dim), L2-normalised; None searches by words alone.
        k: most results per text.
    """
    if history is None:
        memories = [Memory()] * len(texts)
    else:
        memories = remember(history, collection, texts, vectors)
    return collection.search_batch(texts, vectors, k, memories)


class Work(NamedTuple):
    """A piece of past work.

    Attributes:
        day: counted from the first of January of the year 1.
        touched: paths.
    """

    day: int
    touched: tuple[str, ...]

    @classmethod
    def read(cls, path: str, text: str) -> Work:
        """Read a piece of past work as its history keeps it; see `change`."""
        return cls(_day(path), tuple(text.split("\n")[2:]))

    @property
    def nbytes(self) -> int:
        """Size in memory, about."""
        return 200 + sum(60 + len(path) for path in self.touched)


class Similar(NamedTuple):
    """The pieces of past work that are most like a text.

    Attributes:
        work: the pieces, in no order.
        scores: shape (pieces,), 0-1.
        strength: how well the text fits past work at all, see `vectors.relevance.Evidence`.
    """

    work: list[Work]
    scores: NDArray[np.float64]
    strength: float


def _weights(found: Sequence[Similar]) -> list[list[float]]:
    """What each piece of work says for the files that it touched, of each text."""
    counts = [len(each.work) for each in found]
    works = [work for each in found for work in each.work]
    of = np.arange(len(found)).repeat(counts)
    days = np.array([work.day for work in works], np.int64)
    sizes = np.array([len(work.touched) for work in works], np.int64)
    newest = np.full(len(found), np.iinfo(np.int64).min)
    np.maximum.at(newest, of, days)
    recency = (1 + np.exp2((days - newest[of]) / _HALF_LIFE_DAYS)) / 2
    scores = np.concatenate([each.scores for each in found])
    weights = (scores * recency / np.sqrt(np.maximum(sizes, 1))).tolist()
    ends = [0, *accumulate(counts)]
    return [weights[begin:end] for begin, end in pairwise(ends)]


def _files_of(
    similar: Sequence[Work], weights: Sequence[float], holds: Callable[[str], bool]
) -> Memory:
    by_path: defaultdict[str, float] = defaultdict(float)
    for work, weight in zip(similar, weights, strict=True):
        for path in work.touched:
            by_path[path] += weight
    ordered = sorted(zip(map(neg, by_path.values()), by_path, strict=True))
    kept = list(islice((each for each in ordered if holds(each[1])), _FILES))
    if not kept:
        return Memory()
    most, _ = kept[0]
    memory = Memory((path, weight / most) for weight, path in kept)
    memory.unit = -most
    return memory


def _day(path: str) -> int:
    try:
        return date.fromisoformat(path.partition("/")[0]).toordinal()
    except ValueError:
        return _OLDEST
