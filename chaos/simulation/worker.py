"""A worker as two threads' worth of single moves: one reads, one handles and settles.

It does what `streams.reader` and `streams.pump` do, with a scheduler where those have threads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from chaos.simulation.transport import CrashError
from contracts.reasons import MISSING_FIELD, TOO_MANY_DELIVERIES
from streams.entry import Ack, Bury, Leave, Publish
from streams.errors import SERVER_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chaos.simulation.world import World
    from streams.entry import Entry, Settlement

MASTERS = ("a", "b", "c")
DEADLY, FLAKY = b"kills its worker", b"fails now and then"
LEASE = 2  # ticks of the simulated clock
TICK_MS = 1_800_000  # so long that the time a run really takes does not count
_BATCH = 3
_MAX_DELIVERIES = 3


class Job(NamedTuple):
    """What a group of workers does: where its entries come from, and what becomes of each."""

    streams: tuple[str, ...]
    group: str
    handle: Callable[[World, Entry], Settlement]


class Worker:
    """One process, with what it holds; dropping the object is killing it.

    Attributes:
        wakes: tick from which on it moves again.
        leaving: whether its next moves are the last.
    """

    def __init__(self, world: World, name: str, job: Job) -> None:
        system = world.system
        self.name, self.job = name, job
        self.wakes = 0
        self.leaving = False
        self._world = world
        self._client = system.dress(world.transport)
        self.consumer = system.consumer(self._client, job.streams, job.group, name, LEASE * TICK_MS)
        self._held: dict[tuple[str, bytes], int] = {}  # tick until which each is surely ours
        self._inbox: deque[list[Entry]] = deque()
        self._outbox: deque[list[Settlement]] = deque()
        self._newborn = True
        self._retrying = False
        self._handed_back = 0
        self._reading = self._read_forever()

    @property
    def holds(self) -> bool:
        """Whether anything would be left behind by its end."""
        return bool(self._held)

    def believes_to_own(self, entry: Entry) -> bool:
        """Whether it would settle this entry."""
        return (entry.stream, entry.id) in self._held

    def was_robbed_of(self, entry: Entry) -> bool:
        """Whether an entry is gone from here although nobody may have taken it."""
        until = self._held.get((entry.stream, entry.id), 0)
        surely_ours = self._world.clock < until and not self._retrying
        return surely_ours and not self.consumer.owns(entry)

    def move(self) -> None:
        """Go one exchange further; raises CrashError where that ends the process."""
        if self.leaving:
            self._say_goodbye()
        elif self._world.chance.randrange(2):
            try:
                next(self._reading)
            except SERVER_TROUBLE as error:
                self._note("cannot read", error)
                self._reading = self._read_forever()
        elif self._world.chance.randrange(2):  # otherwise it is still busy handling
            self.work()

    def work(self) -> bool:
        """Handle or settle one batch; returns whether there was one."""
        if self._inbox and not (self._outbox and self._world.chance.randrange(2)):
            self._outbox.append(self._handle(self._inbox.popleft()))
        elif self._outbox:
            self._settle()
        else:
            return False
        return True

    def sweep(self) -> bool:
        """Take and handle all there is, as the one worker left; returns whether some is to come."""
        self._handed_back = 0
        for each in self.consumer.stale(100):
            if entry := self.consumer.claim(each):
                self._hold("claims", [entry])
        self._hold("reads", self.consumer.read(100, 0))
        while self.work():
            pass
        return bool(self._handed_back)

    # -- the reader ------------------------------------------------------------------------------

    def _read_forever(self) -> Iterator[None]:
        self.consumer.join()
        if self._newborn:
            self.consumer.disown()
            self._newborn = False
        else:
            self._hold("recovers", self.consumer.recover(set(self._held)))
        yield
        renewed = self._world.clock
        while True:
            if renewed < self._world.clock:
                self._renew()
                renewed = self._world.clock
            elif not self._held and self._world.chance.randrange(2):
                yield from self._claim()
            else:
                self._read()
            yield

    def _read(self) -> None:
        if len(self._held) <= 2 * _BATCH:
            self._hold("reads", self.consumer.read(_BATCH, 0))

    def _claim(self) -> Iterator[None]:
        """Take what may be claimed, one entry at a time and with nothing else in hand."""
        for each in self.consumer.stale(4):
            yield
            if self._held:
                return
            if entry := self.consumer.claim(each):
                self._hold("claims", [entry])
                self._world.wake_owner(entry)

    def _renew(self) -> None:
        ours = [entry for batch in self._batches() for entry in batch]
        self.consumer.renew(ours)
        clock = self._world.clock
        for key, until in self._held.items():
            if clock < until:  # otherwise someone may have claimed it before
                self._held[key] = clock + LEASE
        if ours:
            self._note("renews", *map(_task, ours))
            self._world.look_for_theft(self, ours)

    def _hold(self, what: str, entries: Sequence[Entry]) -> None:
        if entries:
            self._note(what, *map(_task, entries))
            self._inbox.append(list(entries))
        for entry in entries:
            self._held[entry.stream, entry.id] = self._world.clock + LEASE

    # -- the settler -----------------------------------------------------------------------------

    def _handle(self, entries: list[Entry]) -> list[Settlement]:
        settlements = [self.job.handle(self._world, entry) for entry in entries]
        self._world.chance.shuffle(settlements)
        return settlements

    def _settle(self) -> None:
        batch = self._outbox[0]
        retrying, self._retrying = self._retrying, True
        try:
            verdicts = self._world.system.settle(
                self._client,
                self._world.keys,
                batch,
                group=self.job.group,
                consumer=self.name,
                window_ms=self._world.window * TICK_MS,
            )
        except SERVER_TROUBLE as error:
            self._note("cannot settle", error)
            if self._world.calm:
                raise
            return
        self._retrying = False
        self._outbox.popleft()
        for each, verdict in zip(batch, verdicts, strict=True):
            self._note("settles", _task(each.entry), type(each).__name__, verdict)
            self._handed_back += verdict in {"left", "blocked"}
            until = self._held.pop((each.entry.stream, each.entry.id))
            if verdict == "fenced" and self._world.clock < until and not retrying:
                self._world.found.append(f"robbed within its lease: {_task(each.entry)}")

    # -- the end ---------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        self._note("leaves")
        try:
            self.consumer.release(entry for batch in self._batches() for entry in batch)
            self.consumer.leave()
        except SERVER_TROUBLE as error:
            self._note("leaves without goodbye", error)
        raise CrashError

    def _batches(self) -> list[list[Entry]]:
        return [*self._inbox, *([each.entry for each in batch] for batch in self._outbox)]

    def _note(self, *words: object) -> None:
        self._world.note(self.name, *words)


def route(world: World, entry: Entry) -> Settlement:
    """What a worker does with a task, in place of `worker.handle`."""
    description = entry.fields.get(b"description")
    task_id = _task(entry)
    if entry.attempt > _MAX_DELIVERIES:
        return Bury(entry, TOO_MANY_DELIVERIES, "too often", task_id)
    if description is None:
        return Bury(entry, MISSING_FIELD, "no description")
    if description == DEADLY:
        if world.calm:
            return Leave(entry)
        raise CrashError
    if description == FLAKY and not world.calm and world.chance.randrange(2):
        return Leave(entry)
    master = MASTERS[int(task_id[-1]) % len(MASTERS)]
    decision = b'{"selected_master":"%s"}' % master.encode()
    return Publish(entry, task_id, master, decision, decision)


def take(_world: World, entry: Entry) -> Settlement:
    """What a master does with a decision."""
    return Ack(entry)


def _task(entry: Entry) -> str:
    return entry.fields[b"task_id"].decode()
