"""What a collection holds: base, delta, and what is known of each file."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import numpy as np

from vectors.base import LiveBase
from vectors.delta import Delta, LiveDelta
from vectors.types import FileState
from vectors.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from vectors.base import Base
    from vectors.types import FileDelta

_NOWHERE = range(0)


class Contents:
    """One base with one delta on top. One writer at a time; searches look at `view` only.

    Attributes:
        view: what a search sees.
        changed: what is known of the files in the delta.
        latest: what is in the delta with its place in the log, to be carried to a new base.
    """

    def __init__(self, base: Base) -> None:
        self.base = LiveBase(base)
        self.delta = Delta(base.dim)
        self.live_delta = LiveDelta(self.delta, np.empty(0, np.bool_))
        length = int(base.columns.length.sum(dtype=np.int64))
        self.view = View((self.base, self.live_delta), base.size, length)
        self.latest: dict[str, tuple[int, FileDelta]] = {}
        self._in_delta: dict[str, range] = {}
        self.changed: dict[str, FileState] = {}
        self._live_in_delta = 0

    def state(self, path: str) -> FileState | None:
        """What is known of a file: with an empty hash if it was removed, None if it never was."""
        return self.changed.get(path) or self.base.base.state(path)

    def holds(self, path: str) -> bool:
        """Whether a file is there; of most files that needs no look at the disk."""
        if path not in self.changed and self.base.base.chunks_of(path):
            return True
        state = self.state(path)
        return state is not None and bool(state.content_hash)

    def states(self) -> dict[str, FileState]:
        """What is known of every file; a copy."""
        return self.base.base.states() | self.changed.copy()

    def paths_under(self, prefixes: tuple[str, ...]) -> list[str]:
        """Files known, removed ones too, whose path begins with one of the prefixes; once each."""
        found = dict.fromkeys(path for path in self.changed.copy() if path.startswith(prefixes))
        for prefix in prefixes:
            below = islice(self._sorted, bisect_left(self._sorted, prefix), None)
            found.update((path, None) for path in takewhile(_starts_with(prefix), below))
        return list(found)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.base.base.paths)

    @property
    def delta_size(self) -> int:
        """Chunks added to the delta plus chunks of the base replaced."""
        return self.delta.size + self.base.replaced

    def apply(self, entry: FileDelta, seq: int) -> bool:
        """Replace a file if the entry is newer, and publish the view in which it is.

        Raises:
            FatalError: the vectors are not of this collection's width.
        """
        path = entry.path
        known = self.state(path)
        if known is not None and entry.version <= known.version:
            return False
        length = self.view.total_length
        gone = self._in_delta.get(path, _NOWHERE)
        added = self.delta.append(entry)
        if masked := self.base.chunks_of(path):
            length -= _length(self.base, masked)
            self.base = self.base.without(masked)
        alive = np.ones(self.delta.size, np.bool_)
        alive[: added.start] = self.live_delta.alive
        alive[gone.start : gone.stop] = False
        self.live_delta = LiveDelta(self.delta, alive)
        length += _length(self.live_delta, added) - _length(self.live_delta, gone)
        self._in_delta[path], self.latest[path] = added, (seq, entry)
        self.changed[path] = FileState(entry.version, entry.content_hash)
        self._live_in_delta += len(added) - len(gone)
        count = len(self.base.alive) - self.base.replaced + self._live_in_delta
        self.view = View((self.base, self.live_delta), count, length, self.view.lasting)
        return True

    def carry_over(self, other: Contents, seq: int) -> None:
        """Apply what another one holds in its delta, from a place in the log on."""
        for at, entry in other.latest.values():
            if at >= seq:
                self.apply(entry, at)


def _starts_with(prefix: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(prefix)


def _length(segment: LiveBase | LiveDelta, chunks: range) -> int:
    return int(segment.columns.length[chunks.start : chunks.stop].sum(dtype=np.int64))
