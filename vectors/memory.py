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
from itertools import islice
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
    memories = [_files_of(each.work, each.scores, of.holds) for each in found]
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


def _files_of(
    similar: Sequence[Work], scores: NDArray[np.float64], holds: Callable[[str], bool]
) -> Memory:
    if not similar:
        return Memory()
    days = np.array([work.day for work in similar])
    sizes = np.array([max(len(work.touched), 1) for work in similar])
    recency = (1 + np.exp2((days - days.max()) / _HALF_LIFE_DAYS)) / 2
    weights: defaultdict[str, float] = defaultdict(float)
    for work, weight in zip(similar, (scores * recency / np.sqrt(sizes)).tolist(), strict=True):
        for path in work.touched:
            weights[path] += weight
    ordered = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    kept = list(islice((item for item in ordered if holds(item[0])), _FILES))
    memory = Memory((path, weight / kept[0][1]) for path, weight in kept)
    memory.unit = kept[0][1] if kept else 0.0
    return memory


def _day(path: str) -> int:
    try:
        return date.fromisoformat(path.partition("/")[0]).toordinal()
    except ValueError:
        return _OLDEST
