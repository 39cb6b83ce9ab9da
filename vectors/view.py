"""What one search sees, and what it need not work out again for the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from vectors.segment import Segment

V = TypeVar("V")
_MOST_TERMS = 16 << 20  # bytes; of a million chunks a hundred rare words, common ones take none
_MOST_WORK = 16 << 20


class Place(NamedTuple):
    """Where a candidate stands; sorts by path and line, which is how ties are broken."""

    path: str
    start_line: int
    segment: int
    id: int


class Kept(Generic[V]):
    """Values by key, as many as fit into so many bytes; beyond that all are forgotten.

    What is asked of one index repeats itself so much that nothing cleverer pays. Threads may share
    it: at worst something is worked out twice.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._values: dict[Hashable, V] = {}

    def get(
        self,
        keys: Sequence[Any],
        work_out: Callable[[list[Any]], Sequence[V]],
        size: Callable[[V], int],
    ) -> list[V]:
        """Return the values of some keys.

        Args:
            keys: hashable, distinct ones.
            work_out: gives the values of those that are not there, in their order.
            size: of a value, in bytes.
        """
        values = self._values
        missing = [key for key in keys if key not in values]
        fresh = dict(zip(missing, work_out(missing), strict=True)) if missing else {}
        found = [fresh[key] if key in fresh else values[key] for key in keys]
        self._bytes += sum(map(size, fresh.values()))
        if self._bytes > self._most_bytes:
            values, self._bytes = {}, sum(map(size, fresh.values()))
            self._values = values
        values.update(fresh)
        return found


@dataclass(slots=True)
class Lasting:
    """What stays true from one view to the next: the base is the same, the delta only grew.

    Attributes:
        work: what pieces of past work touched, by segment and chunk (`vectors.memory`).
    """

    work: Kept[Any] = field(default_factory=lambda: Kept(_MOST_WORK))


@dataclass(frozen=True)
class View:
    """What one search sees: segments that do not change while it runs.

    Attributes:
        segments: the base, then what came after it; a path lives in one of them only.
        chunk_count: live chunks in all of them.
        total_length: terms in all live chunks.
        lasting: of the view before this one.
        terms: how each term weighs in this view (`vectors.words`).
    """

    segments: tuple[Segment, ...]
    chunk_count: int
    total_length: int
    lasting: Lasting = field(default_factory=Lasting)
    terms: Kept[Any] = field(default_factory=lambda: Kept(_MOST_TERMS))

    @property
    def mean_length(self) -> float:
        """Terms in a live chunk, at least 1."""
        return max(self.total_length / max(self.chunk_count, 1), 1.0)

    @cached_property
    def whole(self) -> tuple[bool, ...]:
        """Of each segment, whether none of its chunks was replaced."""
        return tuple(bool(segment.alive.all()) for segment in self.segments)
