"""One run: who takes part, who moves next, what strikes, and how it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.history import History, Outputs, violations
from chaos.simulation.others import operate, produce, tidy
from chaos.simulation.system import System
from chaos.simulation.transport import CrashError, Fate, Kind, Transport, age
from chaos.simulation.worker import LEASE, MASTERS, TICK_MS, Job, Worker, route, take
from streams.keys import WORKERS, Keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.entry import Entry

_MOVES = 180
_ODDS = (75, 15, 5, 5)  # of a worker's move, somebody else's, the clock's, a fault
_PATIENCE = 12  # rounds in which what is left must be settled: deliveries, and waits in between
_KINDS: tuple[Kind, ...] = (
    *("crash before", "crash after", "request lost", "refused"),
    *("request lost", "reply lost", "reply lost", "reply lost"),
)
_LONG = 1_000  # ticks: no run is that long


@dataclass(frozen=True)
class Played:
    """How a run went.

    Attributes:
        violations: what is wrong; empty for a correct queue.
        trace: who did what, one line a move.
    """

    seed: int
    violations: tuple[str, ...]
    trace: tuple[str, ...]


class World:
    """What the participants of a run share.

    Attributes:
        clock: ticks passed; half a lease each.
        window: ticks for which a task id is remembered.
        doubles: whether tasks are submitted twice. They are only if the window outlasts the run;
            otherwise it is as short as a lease, and only ownership fences a worker that wakes late.
        calm: whether faults are over.
        found: violations noticed on the way.
    """

    def __init__(self, seed: int, transport: Transport, system: System) -> None:
        self.chance = random.Random(seed)
        self.transport, self.system = transport, system
        self.keys = Keys()
        self.streams = self.keys.task_streams[:2]
        self.history = History()
        self.clock = 0
        self.doubles = bool(self.chance.randrange(2))
        self.window = _LONG if self.doubles else LEASE
        self.calm = False
        self.found: list[str] = []
        self.trace: list[tuple[object, ...]] = []
        self._births = 0
        self._next: Worker | None = None
        self._routing = Job(self.streams, WORKERS, route)
        self._taking = Job((self.keys.master("a"),), "a", take)
        self._blocked = self.keys.master("c") if self.chance.randrange(2) else None

    def note(self, *words: object) -> None:
        """Add a line to the trace."""
        self.trace.append(words)

    def wake_owner(self, entry: Entry) -> None:
        """Wake who held an entry that was just claimed, most likely: the worst time for it."""
        for worker in self._workers:
            asleep = self.clock < worker.wakes
            if asleep and worker.believes_to_own(entry) and self.chance.randrange(4):
                worker.wakes = self.clock
                self._next = worker

    def look_for_theft(self, thief: Worker, entries: Sequence[Entry]) -> None:
        """Find what a worker took from another, whose lease had not lapsed."""
        self.transport.fate = None
        others = [each for each in self._workers if each is not thief]
        for entry in entries:
            if any(each.was_robbed_of(entry) for each in others):
                task_id = entry.fields[b"task_id"].decode()
                self.found.append(f"stolen within a lease: {task_id}")

    def run(self) -> None:
        """Play all of it, until everything must have been settled."""
        self.transport.fate = None
        self.transport.flushall()
        self.transport.script_flush()  # so that the first use of a script is the same in every run
        if self._blocked:
            self.transport.set(self._blocked, "no stream")
        self._workers = [self._born(self._routing) for _ in range(self.chance.randint(2, 3))]
        self._workers.append(self._born(self._taking))
        self._others = [
            *(produce(self, name, self.chance.randint(2, 6)) for name in ("p", "q", "r")),
            operate(self),
            tidy(self),
        ]
        for _ in range(_MOVES):
            self._turn()
        self._finish()

    def _turn(self) -> None:
        moves = (self._move_worker, self._move_other, self._let_time_pass, self._strike)
        (move,) = self.chance.choices(moves, _ODDS)
        move()
        self.transport.fate = None

    def _strike(self) -> None:
        busy = [each for each in self._workers if each.holds] or self._workers
        victim = self.chance.choice(busy)
        fault = self.chance.choice(("pause",) * 6 + ("kill", "retire", "flush", "unblock"))
        self.note("fault", fault, victim.name)
        if fault == "pause":
            victim.wakes = self.clock + LEASE + self.chance.choice((0, 1, 1, 2, 8))
            self._pass_time(1)
        elif fault == "kill":
            self._replace(victim)
        elif fault == "retire":
            victim.leaving = True
        elif fault == "flush":
            self.transport.script_flush()
        else:
            self._unblock()

    def _move_worker(self) -> None:
        awake = [each for each in self._workers if each.wakes <= self.clock]
        if not awake:
            return
        worker, self._next = self._next or self.chance.choice(awake), None
        self._tempt()
        try:
            worker.move()
        except CrashError:
            self.note(worker.name, "ends")
            self._replace(worker)

    def _move_other(self) -> None:
        other = self.chance.choice(self._others)
        self._tempt()
        if next(other, self) is self:
            self._others.remove(other)

    def _tempt(self) -> None:
        if not self.chance.randrange(10):
            self.transport.fate = Fate(
                self.chance.choice(_KINDS), self.chance.choice((0, 0, 1, 2, 4))
            )
            self.note("fate", *self.transport.fate)

    def _replace(self, worker: Worker) -> None:
        name = self.chance.choice((None, worker.name))
        self.transport.fate = None
        self._next = None
        self._workers[self._workers.index(worker)] = self._born(worker.job, name)

    def _born(self, job: Job, name: str | None = None) -> Worker:
        self._births += 1
        return Worker(self, name or f"{job.group}{self._births}", job)

    def _unblock(self) -> None:
        if self._blocked:
            self.transport.delete(self._blocked)
            self._blocked = None

    def _let_time_pass(self) -> None:
        self._pass_time(self.chance.choice((1, 1, 1, 3)))

    def _pass_time(self, ticks: int) -> None:
        self.clock += ticks
        age(self.transport, ticks * TICK_MS)
        self.note("clock", self.clock)

    def _finish(self) -> None:
        """Drain with new workers; let who slept through it wake late; drain again; check."""
        self.note("calm")
        self.calm = True
        self._unblock()
        sleepers = [each for each in self._workers if self.clock < each.wakes]
        self._drain()
        for each in sleepers:
            while each.work():
                pass
        if sleepers:
            self._drain()
        outputs = Outputs.read(self.transport, self.keys, MASTERS)
        self.found += violations(self.history.seen, outputs)

    def _drain(self) -> None:
        for job in (self._routing, self._taking):
            worker = self._born(job)
            worker.consumer.join()
            for _ in range(_PATIENCE):
                self._pass_time(LEASE + 1)
                if not worker.sweep():
                    break


def play(seed: int, transport: Transport, system: System | None = None) -> Played:
    """Play one seed on an emptied server.

    Args:
        seed: everything in the run follows from it.
        transport: connection to a server of the simulation's own; all it holds is deleted.
        system: whose correctness is in question; ours if not given.
    """
    world = World(seed, transport, system or System())
    world.run()
    return Played(seed, tuple(world.found), tuple(_lines(world.trace)))


def _lines(trace: list[tuple[object, ...]]) -> Iterator[str]:
    return (" ".join(map(str, words)) for words in trace)
