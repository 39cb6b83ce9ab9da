"""Several collections searched as one.

The score of a hit is relative to the best candidate of its search. Searched apart, the best page of
an unrelated manual would score as high as the very function that was asked for; searched together,
words and vectors are weighed on one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vectors.hits import read_hits
from vectors.memory import Memory, remember, retrieve
from vectors.search import search
from vectors.view import Lasting, View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vectors.engine import Searched
    from vectors.segment import Segment
    from vectors.types import Hit
    from vectors.view import Place

Source = tuple["Searched", "Searched | None"]
"""A collection and the history that remembers for it, if there is one."""


class Joint:
    """Searches several collections at once. Threads may share it."""

    def __init__(self) -> None:
        self._last: _Joined | None = None

    def search(
        self,
        sources: Sequence[Source],
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        k: int,
    ) -> list[list[Hit]]:
        """Find the chunks most relevant to each text in any of the collections.

        Args:
            sources: what is searched; those that are empty cost nothing.
            texts: n texts.
            vectors: their embeddings, shape (n, dim), L2-normalised; None searches by words alone.
            k: most results per text.

        Returns:
            For each text at most k hits, best first, with scores of one scale, 0-1.
        """
        filled = [each for each in sources if each[0].chunk_count]
        if not filled:
            return [[] for _ in texts]
        if len(filled) == 1:
            (collection, history), *_ = filled
            return retrieve(collection, history, texts, vectors, k)
        views = {each.name: each.view for each, _ in filled}
        here = {name: view for name, view in views.items() if view is not None}
        if len(here) < len(filled):  # what is elsewhere is asked one by one
            return _apart(filled, texts, vectors, k)
        joined = self._join(here)
        memories = _remember(filled, texts, vectors)
        found = search(joined.view, texts, vectors, k, memories)
        return read_hits(joined.view, found, joined.whose)

    def _join(self, searched: Mapping[str, View]) -> _Joined:
        names, views = tuple(searched), tuple(searched.values())
        last = self._last
        if last is None or last.names != names or not _same(last.views, views):
            last = self._last = _Joined.of(names, views, last)
        return last


@dataclass(frozen=True)
class _Joined:
    """Views of several collections as one.

    Attributes:
        owners: of each segment, the collection it belongs to.
    """

    names: tuple[str, ...]
    views: tuple[View, ...]
    owners: tuple[str, ...]
    view: View

    @classmethod
    def of(cls, names: tuple[str, ...], views: tuple[View, ...], before: _Joined | None) -> _Joined:
        """Join views; what was worked out for the same bases `before` stays true."""
        segments, owners = [], []
        for name, view in zip(names, views, strict=True):
            segments += [_Labelled(name, segment) for segment in view.segments]
            owners += [name] * len(view.segments)
        same_bases = (
            before is not None
            and before.names == names
            and _same([each.lasting for each in before.views], [each.lasting for each in views])
        )
        lasting = before.view.lasting if before is not None and same_bases else Lasting()
        joined = View(
            cast("tuple[Segment, ...]", tuple(segments)),
            sum(view.chunk_count for view in views),
            sum(view.total_length for view in views),
            lasting,
        )
        return cls(names, views, tuple(owners), joined)

    def whose(self, place: Place) -> tuple[str, str]:
        """The collection of a place, and its path there."""
        owner = self.owners[place.segment]
        return owner, place.path.removeprefix(_label(owner, ""))


class _Labelled:
    """A segment whose paths begin with its collection: two collections may hold the same path."""

    def __init__(self, label: str, segment: Segment) -> None:
        self._label = label
        self._segment = segment

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the segment has
        return getattr(self._segment, name)

    def path(self, file: int) -> str:
        """Path of a file by its number."""
        return _label(self._label, self._segment.path(file))

    def chunks_of(self, path: str) -> range:
        """Live chunks of a file; none if it is of another collection."""
        label = _label(self._label, "")
        if not path.startswith(label):
            return range(0)
        return self._segment.chunks_of(path.removeprefix(label))


def _apart(
    sources: Sequence[Source],
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    k: int,
) -> list[list[Hit]]:
    """Merge by score what each collection finds."""
    found = [retrieve(each, history, texts, vectors, k) for each, history in sources]
    return [
        sorted((hit for hits in of_text for hit in hits), key=lambda hit: -hit.score)[:k]
        for of_text in zip(*found, strict=True)
    ]


def _remember(
    sources: Sequence[Source], texts: Sequence[str], vectors: NDArray[np.float32] | None
) -> list[Memory]:
    """What several histories remember, on one scale: what is most remembered has 1."""
    remembered = [
        (collection.name, remember(history, collection, texts, vectors))
        for collection, history in sources
        if history is not None
    ]
    joined = [Memory() for _ in texts]
    for number, memory in enumerate(joined):
        parts = [(name, memories[number]) for name, memories in remembered]
        unit = max((part.unit for _, part in parts if part), default=1.0)
        for name, part in parts:
            share = part.unit / unit
            memory.update((_label(name, path), weight * share) for path, weight in part.items())
            memory.fit(part)
    return joined


def _label(collection: str, path: str) -> str:
    return f"{collection}\0{path}"


def _same(before: Sequence[object], now: Sequence[object]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))
