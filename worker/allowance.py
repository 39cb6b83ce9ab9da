"""Time for what can be left out of decisions."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHARE = 0.01  # of the time that passes: a new worker knows 2,500 files within three busy minutes
_MOST_SAVED_S = 0.01


class Allowance:
    """Time for what can be left out: it grows as time passes, what is done takes from it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with as much as can be saved up.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._since = clock()
        self._seconds = _MOST_SAVED_S

    def is_left(self) -> bool:
        """Whether there is any."""
        now = self._clock()
        self._seconds = min(self._seconds + _SHARE * (now - self._since), _MOST_SAVED_S)
        self._since = now
        return self._seconds > 0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Take what the block takes; there may be less than nothing left afterwards."""
        begun = self._clock()
        try:
            yield
        finally:
            self._seconds -= self._clock() - begun
