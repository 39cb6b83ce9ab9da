"""Which files change together: what pieces of past work touched, by path."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from vectors.memory import Work

if TYPE_CHECKING:
    from vectors.segment import Segment
    from vectors.view import View

_LEAST = 2  # pieces of work that touched both: one may be chance
_PAGE = 1_000


class Touched:
    """An inverted table of a history. It grows with it; a new base takes a new one.

    One piece of work on n files speaks with a weight of 1 / (n - 1) for each pair of them.
    """

    def __init__(self) -> None:
        self._lasting: object = None
        self._read: list[int] = []
        self._work: list[tuple[str, ...]] = []
        self._by_path: defaultdict[str, list[int]] = defaultdict(list)
        self._known: dict[str, dict[str, float]] = {}

    def is_of(self, view: View) -> bool:
        """Whether the base of a view is the one that was read."""
        return self._lasting is view.lasting

    def read(self, view: View) -> None:
        """Begin with the base of a view, and go on with the rest; to be called once."""
        self._lasting = view.lasting
        self._read = [0] * len(view.segments)
        self.follow(view)

    def follow(self, view: View) -> None:
        """Take over what a history has gained; its base is the one that was read."""
        for number, segment in enumerate(view.segments):
            for start in range(self._read[number], len(segment.alive), _PAGE):
                self._add(segment, start, min(start + _PAGE, len(segment.alive)))
            self._read[number] = len(segment.alive)

    def with_path(self, path: str) -> dict[str, float]:
        """How much each other file changed together with one; only what did so repeatedly."""
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._count(path)
        return known

    def _count(self, path: str) -> dict[str, float]:
        weights: defaultdict[str, float] = defaultdict(float)
        times: defaultdict[str, int] = defaultdict(int)
        for number in self._by_path.get(path, ()):
            work = self._work[number]
            for other in work:
                weights[other] += 1 / max(len(work) - 1, 1)
                times[other] += 1
        return {
            other: weight
            for other, weight in weights.items()
            if other != path and times[other] >= _LEAST
        }

    def _add(self, segment: Segment, start: int, stop: int) -> None:
        self._known = {}
        ids = start + np.flatnonzero(segment.alive[start:stop])
        for chunk in segment.chunks(ids.tolist()):
            touched = Work.read("", chunk.text).touched
            for path in touched:
                self._by_path[path].append(len(self._work))
            self._work.append(touched)
