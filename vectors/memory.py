"""What earlier work says about new work: whoever did something like it touched these files.

A history is a collection whose files are pieces of past work, commits or finished tasks, of one
chunk each: in its first paragraph what was said, below it the paths that were touched. What is
asked is answered by the files of the most similar work. On eight repositories, 300 later commits
each, a touched file was among the first five for 85 % with it and for 77 % without
(docs/retrieval.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING

from vectors.types import CHANGE, Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vectors.collection import Collection
    from vectors.types import Hit

Memory = dict[str, float]
"""How much similar work touched each file, by path; the most remembered has 1."""

HISTORY = "-history"
"""Ends the name of the collection that remembers for another one."""

_SIMILAR = 50  # pieces of work that are looked at; 20 and 200 do no better
_FILES = 20
_HALF_LIFE_DAYS = 1_000.0  # of half of the weight; 300 and none do no better
_OLDEST = date(1970, 1, 1)


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
    history: Collection,
    of: Collection,
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
        return [{}] * len(texts)
    found = history.search_batch(texts, vectors, _SIMILAR)
    return [_files_of(hits, of.holds) for hits in found]


def retrieve(
    collection: Collection,
    history: Collection | None,
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
    memories = None if history is None else remember(history, collection, texts, vectors)
    return collection.search_batch(texts, vectors, k, memories)


def _files_of(hits: Sequence[Hit], holds: Callable[[str], bool]) -> Memory:
    newest = max((_day(hit.path) for hit in hits), default=_OLDEST)
    weights: defaultdict[str, float] = defaultdict(float)
    for hit in hits:
        touched = hit.text.split("\n")[2:]
        age = (newest - _day(hit.path)).days
        recency = (1 + 2 ** (-age / _HALF_LIFE_DAYS)) / 2
        for path in filter(holds, touched):
            weights[path] += hit.score * recency / math.sqrt(len(touched))
    return _most(weights)


def _most(weights: Mapping[str, float]) -> Memory:
    kept = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:_FILES]
    return {path: weight / kept[0][1] for path, weight in kept}


def _day(path: str) -> date:
    try:
        return date.fromisoformat(path.partition("/")[0])
    except ValueError:
        return _OLDEST
