"""Reads one lane for a pump: new entries, what was lost with a connection, and lapsed leases.

What was delivered before is suspect, since it may be what killed its last worker. A suspect
travels alone: it is claimed when nothing else is held here, and nothing else is read until it is
settled. So a task that kills its workers takes no neighbour along and runs out of deliveries alone.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from streams.errors import SERVER_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from streams.consumer import Consumer
    from streams.entry import Entry
    from streams.in_flight import Held, InFlight

log = structlog.get_logger()

_CLAIM_EVERY = 1.0  # seconds between looks for lapsed leases
_SWEEP_EVERY = 0.01  # between looks at the pages of a long pending list; each takes about 2 ms
_BLOCK_MS = 500  # an idle reader still claims, renews and notices a stop this often
_STALE_PAGE = 64
# Batches that are held when one more is read: while one is handled and one waits, so that what is
# next is always known; what comes meanwhile gathers in the stream, for a larger batch.
_AHEAD = 2
_BACKOFF = (0.05, 2.0)  # seconds, first and largest, after an error of the server


def backoff() -> Iterator[float]:
    """Yield seconds to wait after each error in a row: growing, and spread by chance.

    Half of each wait is random ("equal jitter": M. Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog, 2015), so that workers do not come back in step.
    """
    longest, most = _BACKOFF
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - nothing secret about it
        longest = min(2 * longest, most)


@dataclass
class Reader:
    """Moves the entries of one lane into what a process holds, on a thread of its own.

    Attributes:
        held: what the process holds of the lane.
        batch: most entries to read now.
        may_read: whether new entries are wanted; claimed and recovered ones come anyway.
        largest: most entries handled together.
        connected: whether the last exchange with the server went well.
        done: whether it has ended.
    """

    consumer: Consumer
    flight: InFlight
    held: Held
    batch: Callable[[], int]
    may_read: Callable[[], bool]
    largest: int
    connected: bool = field(default=False, init=False)
    done: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._newborn = True
        self._third = self.consumer.lease_ms / 3000  # seconds between renewals
        # Leases are renewed between reads: a read must not take as long as a lease.
        self._block_ms = max(1, min(_BLOCK_MS, self.consumer.lease_ms // 3))

    def run(self) -> None:
        """Read until a stop."""
        steps, waits = self._steps(), backoff()
        while not self.flight.stopping:
            try:
                next(steps)
                if not self.connected:
                    self.connected, waits = True, backoff()
            except SERVER_TROUBLE as error:
                self.connected, wait = False, next(waits)
                log.warning("cannot read", error=str(error), retry_in=round(wait, 3))
                self.flight.pause(wait)
                steps = self._steps()
        steps.close()
        self.done = True
        self.flight.notify()

    def _steps(self) -> Generator[None, None, None]:
        """Go one exchange with the server further at each step; begun anew after an error."""
        self._join()
        yield
        claim_at = renew_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= renew_at:
                self._renew()
                renew_at = now + self._third
            if now >= claim_at:
                yield from self._claim_suspects()
                pause = _SWEEP_EVERY if self.consumer.sweeping else _CLAIM_EVERY
                claim_at = time.monotonic() + pause
            self._read(min(claim_at, renew_at) - time.monotonic())
            yield

    def _join(self) -> None:
        missing = self.consumer.join()
        if self._newborn:
            # What killed a namesake is suspect too: claimed later, one at a time.
            self.consumer.disown()
            self._newborn = False
            return
        if missing:
            log.error("group was gone: begun anew at the stream's beginning", streams=missing)
        known = {(entry.stream, entry.id) for entry in self.flight.entries()}
        self._hold(self.consumer.recover(known))

    def _read(self, seconds: float) -> None:
        if not self.may_read():
            self.flight.pause(max(0.0, min(seconds, _BLOCK_MS / 1000)))
        elif self.flight.wait_for_room(self.held, _AHEAD, seconds):
            longest = 1000 * _SWEEP_EVERY if self.consumer.sweeping else self._block_ms
            block_ms = int(min(longest, self._block_ms))
            self._hold(self.consumer.read(self.batch(), block_ms))

    def _claim_suspects(self) -> Generator[None, None, None]:
        """Take what may be claimed, one entry at a time."""
        stale = self.consumer.stale(_STALE_PAGE)
        if not stale:
            return
        try:
            yield from self._until(lambda: self.flight.wait_alone(self, self._third))
            for each in stale:
                yield from self._until(self._is_empty)
                entry = self.consumer.claim(each)
                self._hold([entry] if entry else [])
                yield
            yield from self._until(self._is_empty)
        finally:
            self.flight.share(self)

    def _until(self, reached: Callable[[], bool]) -> Generator[None, None, None]:
        """Wait for something as long as it takes, keeping the leases of what is held."""
        while not reached():
            self._renew()
            yield

    def _hold(self, entries: list[Entry]) -> None:
        if entries:
            self.flight.add(self.held, entries, self.largest)

    def _is_empty(self) -> bool:
        return self.flight.wait_until_empty(self.held, self._third)

    def _renew(self) -> None:
        old = time.perf_counter() - self._third / 2
        held = self.flight.entries(older_than=old)
        self.consumer.renew(each for each in held if each.stream in self.consumer.streams)
