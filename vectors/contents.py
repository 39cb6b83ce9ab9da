"""What a collection holds: base, delta, and what is known of each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vectors.base import LiveBase
from vectors.delta import Delta, LiveDelta
from vectors.types import FileState
from vectors.view import View

if TYPE_CHECKING:
    from vectors.base import Base
    from vectors.types import FileDelta

_NOWHERE = range(0)


class Contents:
    """One base with one delta on top. One writer at a time; searches look at `view` only."""

    def __init__(self, base: Base) -> None:
        self.base = LiveBase(base)
        self.delta = Delta(base.dim)
        self.live_delta = LiveDelta(self.delta, np.empty(0, np.bool_))
        self.states = {path: file.state for path, file in base.files.items()}
        length = int(base.columns.length.sum(dtype=np.int64))
        self.view = View((self.base, self.live_delta), base.size, length)
        self.latest: dict[str, tuple[int, FileDelta]] = {}
        self._in_delta: dict[str, range] = {}

    @property
    def delta_size(self) -> int:
        """Chunks added to the delta plus chunks of the base replaced."""
        return self.delta.size + int((~self.base.alive).sum())

    def apply(self, entry: FileDelta, seq: int) -> bool:
        """Replace a file if the entry is newer, and publish the view in which it is.

        `latest` keeps what is in the delta with its place in the log, to be carried to a new base.
        """
        path = entry.path
        known = self.states.get(path)
        if known is not None and entry.version <= known.version:
            return False
        length = self.view.total_length
        gone = self._in_delta.get(path, _NOWHERE)
        if path not in self._in_delta and path in self.base.base.files:
            masked = self.base.base.files[path].chunks
            length -= _length(self.base, masked)
            self.base = self.base.without(masked)
        added = self.delta.append(entry)
        alive = np.ones(self.delta.size, np.bool_)
        alive[: added.start] = self.live_delta.alive
        alive[gone.start : gone.stop] = False
        self.live_delta = LiveDelta(self.delta, alive)
        length += _length(self.live_delta, added) - _length(self.live_delta, gone)
        self._in_delta[path], self.latest[path] = added, (seq, entry)
        self.states[path] = FileState(entry.version, entry.content_hash)
        count = int(self.base.alive.sum()) + int(alive.sum())
        self.view = View((self.base, self.live_delta), count, length, self.view.lasting)
        return True


def _length(segment: LiveBase | LiveDelta, chunks: range) -> int:
    return int(segment.columns.length[chunks.start : chunks.stop].sum(dtype=np.int64))
