"""A collection that is kept level with its delta log, and how old what it says may be."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from contracts.errors import CortexError, TransientError
from telemetry.complaint import Complaint
from vectors.log import OtherEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from vectors.engine import Engine
    from vectors.follow import Follower

log = structlog.get_logger()

_POLL_MS = 500
_PAGE = 64  # log entries per exchange
_RETRY_SECONDS = 0.5
_ASK_SECONDS = 1.0


class LiveCollection:
    """A collection and, where there is a queue, what keeps it level with the log.

    Attributes:
        collection: what is searched.
        follower: None where there is no queue.
    """

    def __init__(
        self,
        collection: Engine,
        follower: Follower | None = None,
        read_age: Callable[[], float | None] = lambda: None,
        limit_s: float = 60.0,
    ) -> None:
        """Follow nothing yet.

        Args:
            collection: what is searched.
            follower: brings it level with the log.
            read_age: seconds since the log held every change, None if nobody knows.
            limit_s: from this age on, what the collection says counts as outdated.
        """
        self.collection = collection
        self.follower = follower
        self._read_age = read_age
        self._limit_s = limit_s
        self._ask_at = 0.0
        self._current_at: float | None = None  # by time.monotonic()
        self._vouched_at: float | None = None  # the same, once the log has been read to its end
        about = {"collection": collection.name}
        self._behind = Complaint("index behind", "index followed again", about)
        self._outdated = Complaint("index outdated", "index current again", about)
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._follow, name=f"follow-{collection.name}", daemon=True
        )

    @property
    def age_s(self) -> float | None:
        """For how long changes may be missing; None if no indexer ever said."""
        return None if self._current_at is None else time.monotonic() - self._current_at

    @property
    def stale(self) -> bool:
        """Whether what it says may be outdated."""
        age = self.age_s
        late = age is not None and age > self._limit_s
        return late or (self.follower is not None and self.follower.stale)

    def catch_up(self, seconds: float) -> None:
        """Apply what was published so far, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self.follower and self._turn(self.follower, 0) and time.monotonic() < deadline:
            pass

    def start(self) -> None:
        """Apply what the indexers publish from now on, on a thread of its own."""
        if self.follower is not None:
            self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is at."""
        self._stopping.set()

    def _follow(self) -> None:
        while self.follower and not self._stopping.is_set():
            try:
                self._turn(self.follower, _POLL_MS)
            except CortexError:
                log.exception("index no longer followed", collection=self.collection.name)
                self.follower.stale = True
                return

    def _turn(self, follower: Follower, block_ms: int) -> int:
        """Ask how current the log is, if it is time, and apply what is new in it; how much."""
        applied = 0
        try:
            self._ask()
            applied = follower.poll(0 if self._vouched_at else block_ms, _PAGE)
            self._behind.did_not_happen()
        except (TransientError, OtherEncoder) as error:
            self._behind.happened(error=str(error))
            self._stopping.wait(_RETRY_SECONDS if block_ms else 0)
        else:
            if applied < _PAGE and self._vouched_at is not None:
                self._current_at, self._vouched_at = self._vouched_at, None
        self._complain()
        return applied

    def _ask(self) -> None:
        now = time.monotonic()
        if self._vouched_at is None and now >= self._ask_at:
            self._ask_at = now + _ASK_SECONDS
            age = self._read_age()
            self._vouched_at = None if age is None else now - age

    def _complain(self) -> None:
        age = self.age_s
        if age is not None and age > self._limit_s:
            self._outdated.happened(age_s=round(age, 1), limit_s=self._limit_s)
        else:
            self._outdated.did_not_happen()
