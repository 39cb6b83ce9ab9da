"""Faults of clocks: an hour ahead, an hour behind, in the middle of everything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.clocks import Clock, library
from chaos.matrix import Result, Row
from chaos.members import freeze_holder, members
from chaos.servers import Server, wait_until

if TYPE_CHECKING:
    from chaos.matrix import Run

HOUR = 3600
STUCK = 120.0  # seconds that nothing may be stuck for
CHORES = 30.0  # seconds until settled work is trimmed, on a loaded machine; it is due every ten


def clock_of_server(run: Run) -> Result:
    """Set the server's clock."""
    clock = Clock(run.directory / "clock")
    with Arena(run, server=Server(run.directory / "server", env=clock.env)) as arena:
        return set_under_load(run, arena, clock)


def clock_of_workers(run: Run) -> Result:
    """Set the workers' clock."""
    clock = Clock(run.directory / "clock")
    with Arena(run) as arena:
        return set_under_load(run, arena, clock, **clock.env)


def set_under_load(run: Run, arena: Arena, clock: Clock, **env: str) -> Result:
    """Set a clock by an hour, to and fro, each time killing a worker at once.

    What the dead one held was delivered by the old time. After the last time nothing new comes.
    """
    ahead = run.chance.choice((1, -1))
    hours = [ahead * HOUR, 0, -ahead * HOUR, 0][: run.scale(2, 4)] * run.scale(1, 5)
    arena.fleet.start(3, **env).wait_reading()
    producer = arena.produce(500_000, rate=300.0)
    recoveries = []
    for count, seconds in enumerate(hours, start=1):
        number = freeze_holder(run, arena)
        begun = time.monotonic()
        clock.set(seconds)
        arena.fleet.kill(number)
        if count == len(hours):
            producer.stop()
        wait_inherited(arena, arena.fleet.processes[number].pid)
        recoveries.append(time.monotonic() - begun)
        arena.fleet.replace(number, **env)
    arena.drain(STUCK)
    recoveries[-1] = time.monotonic() - begun
    settled = [keys.tasks for keys in arena.parts]
    wait_until(lambda: all(arena.client.xlen(each) <= 1 for each in settled), "chores", CHORES)
    return arena.result(len(hours), max(recoveries), note="+1 h and -1 h in turn")


def wait_inherited(arena: Arena, pid: int) -> None:
    """Wait until others settled or hold what a dead worker held."""
    wait_until(lambda: not members(arena)[pid], f"others took over from {pid}", STUCK)


_CAN = library() is not None  # optional: the tests do without
PROMISE = "no double, nothing stuck, chores go on"
ROWS = (
    Row("clock-of-server", PROMISE, clock_of_server, bounded=_CAN),
    Row("clock-of-workers", PROMISE, clock_of_workers, bounded=_CAN),
)
