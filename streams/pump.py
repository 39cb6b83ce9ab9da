"""Runs consumers for real: reading, working and settling overlap, each on threads of their own.

    a reader thread a lane ──▶ inbox ──▶ your loop ──▶ an outbox and a settler thread a lane

The contract for the loop: take a batch from `batches`, hand what became of it to `settle` as a
whole, as late as you like; leases are renewed meanwhile. A batch is as large as keeps its handling
near `target_seconds`, so that little is held by a process that dies. Lanes share the loop alone:
while the server of one is away, the others flow.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import redis
import structlog

from contracts.errors import FatalError
from streams._threads import watched
from streams.errors import SERVER_TROUBLE
from streams.in_flight import Held, InFlight
from streams.reader import Reader, backoff
from streams.settle import AT_ONCE, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

    from streams.entry import Entry, Settlement
    from streams.lane import Lane
    from streams.settle import Verdict

log = structlog.get_logger()

_FIRST_PACE = 0.003  # seconds per entry, assumed until the first batch is handled
_GOODBYE = 1.0  # seconds for the threads to end, and for what the server is told at the end


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
    drain_seconds: float = 6.0


@dataclass
class Pump:
    """Feeds one loop from the lanes of a process, and settles what the loop returns.

    Attributes:
        lanes: each is read on a thread of its own.
        settler: client used for settling, by several threads.
        on_settled: told of every settled batch, of one at a time, on a thread of ours.
        may_read: whether new entries are wanted; asked before each reading.
    """

    lanes: Sequence[Lane]
    settler: Redis
    settings: PumpSettings = field(default_factory=PumpSettings)
    on_settled: Callable[[Sequence[Settlement], Sequence[Verdict]], None] = lambda _batch, _v: None
    may_read: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self._flight = InFlight()
        self._failure: BaseException | None = None
        self._seconds_per_entry = _FIRST_PACE
        held = [Held() for _ in self.lanes]
        self._held_of = {
            stream: each
            for lane, each in zip(self.lanes, held, strict=True)
            for stream in lane.consumer.streams
        }
        self._readers = [
            Reader(
                lane.consumer,
                self._flight,
                each,
                self._batch_size,
                self.may_read,
                self.settings.max_batch,
            )
            for lane, each in zip(self.lanes, held, strict=True)
        ]
        settling = [
            partial(self._settle_forever, *each) for each in zip(self.lanes, held, strict=True)
        ]
        self._threads = [
            *(watched(each.run, "reader", self._fail) for each in self._readers),
            *(watched(each, "settler", self._fail) for each in settling),
        ]
        self._telling = threading.Lock()

    @property
    def connected(self) -> bool:
        """Whether the last reading of every lane went well."""
        return all(reader.connected for reader in self._readers)

    @property
    def idle(self) -> bool:
        """Whether no batch waits for the loop and it is to go on: time for work of its own."""
        return not (self._flight.inbox or self._flight.stopping or self._failure)

    @property
    def waiting(self) -> Sequence[Entry]:
        """The batch that the loop takes next, if it was read already."""
        with self._flight.changed:
            return [*self._flight.inbox[0]] if self._flight.inbox else []

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask for a drain: nothing more is read, what is held is handled and settled."""
        self._flight.stop(self.settings.drain_seconds)

    def batches(self, tick: Callable[[], None] = lambda: None) -> Iterator[list[Entry]]:
        """Yield batches, each of one lane, until the drain is done; `tick` runs once a second.

        Raises:
            FatalError: a reader or the settler met an error that is not the server's.
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
        """Hand over what became of a batch."""
        if batch:
            self._flight.handled(self._held_of[batch[0].entry.stream], batch)

    def close(self) -> None:
        """Finish the drain: settle, give back what is left, leave the groups.

        A server that hangs is not waited for: what is left is free once its lease has lapsed.
        """
        flight = self._flight
        self.stop()
        with flight.changed:
            flight.changed.wait_for(lambda: not flight, flight.patience)
        flight.give_up()
        until = time.monotonic() + _GOODBYE
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        left = flight.entries()
        goodbye = watched(lambda: self._say_goodbye(left), "goodbye", self._fail)
        goodbye.start()
        goodbye.join(_GOODBYE)

    def _say_goodbye(self, left: Sequence[Entry]) -> None:
        for lane in self.lanes:
            held = [each for each in left if each.stream in lane.consumer.streams]
            try:
                lane.consumer.release(held)
                lane.consumer.leave()
            except SERVER_TROUBLE as error:
                log.warning("left without goodbye", error=str(error), held=len(held))

    def _fail(self, error: BaseException) -> None:
        with self._flight.changed:
            self._failure = error
            self._flight.changed.notify_all()

    def _settle_forever(self, lane: Lane, held: Held) -> None:
        flight = self._flight
        while True:
            with flight.changed:
                flight.changed.wait_for(lambda: held.outbox or self._drained() or flight.overdue)
                if not held.outbox:
                    return
                batch = held.outbox[0]
            verdicts = self._settle(lane, batch)
            if len(verdicts) != len(batch):
                return
            flight.settled(held)
            with self._telling:
                self.on_settled(batch, verdicts)

    def _settle(self, lane: Lane, batch: Sequence[Settlement]) -> Sequence[Verdict]:
        waits, at_once = backoff(), AT_ONCE
        while not self._flight.overdue:
            try:
                return settle(
                    self.settler,
                    lane.keys,
                    batch,
                    group=lane.consumer.group,
                    consumer=lane.consumer.name,
                    window_ms=self.settings.window_ms,
                    at_once=at_once,
                )
            except SERVER_TROUBLE as error:
                wait = next(waits)
                if isinstance(error, redis.TimeoutError):
                    at_once = max(1, at_once // 2)  # so much may be too much for a slow connection
                log.warning("cannot settle", error=str(error), batch=len(batch), retry_in=wait)
                with self._flight.changed:
                    self._flight.changed.wait_for(lambda: self._flight.overdue, wait)
        return []

    def _drained(self) -> bool:
        return bool(self._failure) or (
            self._flight.stopping
            and not self._flight
            and all(reader.done for reader in self._readers)
        )

    def _nap(self) -> float:
        return min(1.0, self._flight.patience)

    def _batch_size(self) -> int:
        fitting = int(self.settings.target_seconds / self._seconds_per_entry)
        return max(1, min(self.settings.max_batch, fitting) // len(self.lanes))

    def _learn_pace(self, seconds: float) -> None:
        self._seconds_per_entry += 0.2 * (seconds - self._seconds_per_entry)
