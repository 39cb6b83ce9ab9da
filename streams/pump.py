"""Runs a consumer for real: reading, working and settling overlap, each on a thread of its own.

    reader thread ──▶ inbox ──▶ your loop ──▶ outbox ──▶ settler thread

The contract for the loop: take a batch from `batches`, hand what became of it to `settle`, in any
order and as late as you like; leases are renewed meanwhile. A batch is as large as keeps its
handling near `target_seconds`, so that little is held by a process that dies.

What was delivered before is suspect, since it may be what killed its last worker. A suspect
travels alone: it is claimed when nothing else is held here, and nothing else is read until it is
settled. So a task that kills its workers takes no neighbour along and runs out of deliveries alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from contracts.errors import FatalError
from streams._threads import watched
from streams.errors import SERVER_TROUBLE
from streams.in_flight import InFlight
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from redis import Redis

    from streams.consumer import Consumer
    from streams.entry import Entry, Settlement
    from streams.keys import Keys
    from streams.settle import Verdict

log = structlog.get_logger()

_CLAIM_EVERY = 1.0  # seconds between looks for lapsed leases
_BLOCK_MS = 500  # an idle reader still claims, renews and notices a stop this often
_STALE_PAGE = 64
_FIRST_PACE = 0.003  # seconds per entry, assumed until the first batch is handled
_GOODBYE = 1.0  # seconds for the threads to end, and for what the server is told at the end
_OUTBOX = 2  # one batch in the script, one ready
_BACKOFF = (0.05, 2.0)  # seconds, first and largest, after an error of the server


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """How a pump reads and settles.

    Attributes:
        window_ms: how long a task id is remembered as dealt with.
        max_batch: most entries handled at once.
        target_seconds: handling time a batch should stay near.
        drain_seconds: after this long, a stop gives back what is not yet handled.
    """

    window_ms: int = 600_000
    max_batch: int = 256
    target_seconds: float = 0.05
    drain_seconds: float = 7.0


@dataclass
class Pump:
    """Feeds one loop from a consumer, and settles what the loop returns.

    Attributes:
        consumer: used by the reader thread alone.
        settler: connection used by the settler thread alone.
        keys: where decisions and dead letters go.
        on_settled: told of every settled batch, on the settler thread.
        connected: whether the last reading from the server went well.
    """

    consumer: Consumer
    settler: Redis
    keys: Keys
    settings: PumpSettings = field(default_factory=PumpSettings)
    on_settled: Callable[[Sequence[Settlement], Sequence[Verdict]], None] = lambda _batch, _v: None

    def __post_init__(self) -> None:
        self._flight = InFlight()
        self._failure: BaseException | None = None
        self._seconds_per_entry = _FIRST_PACE
        self._newborn = True
        # Leases are renewed between reads: a read must not take as long as a lease.
        self._block_ms = max(1, min(_BLOCK_MS, self.consumer.lease_ms // 3))
        self.connected = False
        self._reader = watched(self._read_forever, "reader", self._fail)
        self._settler = watched(self._settle_forever, "settler", self._fail)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()
        self._settler.start()

    def stop(self) -> None:
        """Ask for a drain: nothing more is read, what is held is handled and settled."""
        self._flight.stop(self.settings.drain_seconds)

    def batches(self, tick: Callable[[], None] = lambda: None) -> Iterator[list[Entry]]:
        """Yield batches until the drain is done; `tick` runs at least once a second.

        Raises:
            FatalError: the reader or the settler met an error that is not the server's.
        """
        flight = self._flight
        while not flight.overdue:
            tick()
            with flight.changed:
                flight.changed.wait_for(lambda: flight.inbox or self._drained(), self._nap())
                batch = flight.inbox.popleft() if flight.inbox else None
            if self._failure:
                raise FatalError(f"the queue's loop failed: {self._failure!r}") from self._failure
            if batch:
                begun = time.perf_counter()
                yield batch
                self._learn_pace((time.perf_counter() - begun) / len(batch))
            elif self._drained():
                return

    def settle(self, batch: Sequence[Settlement]) -> None:
        """Hand over what became of a batch; waits while two batches are still to be settled."""
        flight = self._flight
        with flight.changed:
            while len(flight.outbox) >= _OUTBOX and not flight.overdue and not self._failure:
                flight.changed.wait(self._nap())
            flight.outbox.append(batch)
            flight.changed.notify_all()

    def close(self) -> None:
        """Finish the drain: settle, give back what is left, leave the group.

        A server that hangs is not waited for: what is left is free once its lease has lapsed.
        """
        flight = self._flight
        self.stop()
        with flight.changed:
            flight.changed.wait_for(lambda: not flight, flight.patience)
        flight.give_up()
        until = time.monotonic() + _GOODBYE
        for thread in (self._reader, self._settler):
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        left = flight.entries()
        goodbye = watched(lambda: self._say_goodbye(left), "goodbye", self._fail)
        goodbye.start()
        goodbye.join(_GOODBYE)

    def _say_goodbye(self, left: Sequence[Entry]) -> None:
        try:
            self.consumer.release(left)
            self.consumer.leave()
        except SERVER_TROUBLE as error:
            log.warning("left without goodbye", error=str(error), held=len(left))

    def _fail(self, error: BaseException) -> None:
        with self._flight.changed:
            self._failure = error
            self._flight.changed.notify_all()

    # -- reader thread ---------------------------------------------------------------------------

    def _read_forever(self) -> None:
        steps = self._steps()
        backoff = _BACKOFF[0]
        while not self._flight.stopping:
            try:
                next(steps)
                self.connected, backoff = True, _BACKOFF[0]
            except SERVER_TROUBLE as error:
                self.connected = False
                log.warning("cannot read", error=str(error), retry_in=backoff)
                self._flight.pause(backoff)
                backoff = min(2 * backoff, _BACKOFF[1])
                steps = self._steps()
        with self._flight.changed:
            self._flight.changed.notify_all()

    def _steps(self) -> Iterator[None]:
        """Go one exchange with the server further at each step; begun anew after an error."""
        self.consumer.join()
        if self._newborn:
            # What killed a namesake is suspect too: claimed below, one at a time.
            self.consumer.disown()
            self._newborn = False
        else:
            known = {(entry.stream, entry.id) for entry in self._flight.entries()}
            self._hold(self.consumer.recover(known))
        yield
        claim_at = renew_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= renew_at:
                self._renew()
                renew_at = now + self.consumer.lease_ms / 3000
            if now >= claim_at:
                more = yield from self._claim_suspects()
                claim_at = now if more else now + _CLAIM_EVERY
            batch = self._batch_size()
            if self._flight.wait_for_room(2 * batch, min(claim_at, renew_at) - time.monotonic()):
                self._hold(self.consumer.read(batch, self._block_ms))
            yield

    def _claim_suspects(self) -> Generator[None, None, bool]:
        """Take lapsed entries one at a time; returns whether there may be more."""
        stale = self.consumer.stale(_STALE_PAGE)
        for each in stale:
            while not self._flight.wait_until_empty(self.consumer.lease_ms / 3000):
                self._renew()
                yield
            entry = self.consumer.claim(each)
            self._hold([entry] if entry else [])
            yield
        while stale and not self._flight.wait_until_empty(self.consumer.lease_ms / 3000):
            self._renew()
            yield
        return len(stale) == _STALE_PAGE

    def _hold(self, entries: list[Entry]) -> None:
        if entries:
            self._flight.add(entries, self.settings.max_batch)

    def _renew(self) -> None:
        old = time.perf_counter() - self.consumer.lease_ms / 6000
        self.consumer.renew(self._flight.entries(older_than=old))

    def _batch_size(self) -> int:
        pace = self._seconds_per_entry
        return max(1, min(self.settings.max_batch, int(self.settings.target_seconds / pace)))

    # -- settler thread --------------------------------------------------------------------------

    def _settle_forever(self) -> None:
        flight = self._flight
        while True:
            with flight.changed:
                flight.changed.wait_for(lambda: flight.outbox or self._drained() or flight.overdue)
                if not flight.outbox:
                    return
                batch = flight.outbox[0]
            verdicts = self._settle(batch)
            if not verdicts:
                return
            flight.settled()
            self.on_settled(batch, verdicts)

    def _settle(self, batch: Sequence[Settlement]) -> Sequence[Verdict]:
        backoff = _BACKOFF[0]
        while not self._flight.overdue:
            try:
                return settle(
                    self.settler,
                    self.keys,
                    batch,
                    group=self.consumer.group,
                    consumer=self.consumer.name,
                    window_ms=self.settings.window_ms,
                )
            except SERVER_TROUBLE as error:
                log.warning("cannot settle", error=str(error), batch=len(batch), retry_in=backoff)
                with self._flight.changed:
                    self._flight.changed.wait_for(lambda: self._flight.overdue, backoff)
                backoff = min(2 * backoff, _BACKOFF[1])
        return []

    def _drained(self) -> bool:
        return bool(self._failure) or (
            self._flight.stopping and not self._reader.is_alive() and not self._flight
        )

    def _nap(self) -> float:
        return min(1.0, self._flight.patience)

    def _learn_pace(self, seconds: float) -> None:
        self._seconds_per_entry += 0.2 * (seconds - self._seconds_per_entry)
