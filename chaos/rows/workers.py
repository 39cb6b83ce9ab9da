"""Faults of worker processes: killed, paused, ended, multiplied, and tasks that kill them."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.fleet import Fleet
from chaos.history import buried_id
from chaos.matrix import Result, Row
from chaos.members import (
    end,
    freeze_holder,
    members,
    too_late,
    wait_taken_over,
)
from chaos.mortal import DEADLY, MORTAL, POINTS, doomed
from chaos.servers import wait_until
from contracts.errors import FatalError
from contracts.reasons import TOO_MANY_DELIVERIES
from contracts.settings import load
from streams import ranges
from streams.consumer import Consumer
from streams.keys import WORKERS
from worker.settings import Settings

if TYPE_CHECKING:
    from chaos.matrix import Run

PATIENCE = 15.0  # seconds from the last fault until everything is done, an idle stream included
SLOTS = 3  # workers that live at a time


def late(recovery: float) -> list[str]:
    """What there is to say of a recovery."""
    return [f"{recovery:.1f} s until everything was done"] if recovery > PATIENCE else []


def buried(arena: Arena) -> list[str]:
    """What there is to say of dead letters where there should be none."""
    letters = sum(arena.client.xlen(keys.dead) for keys in arena.parts)
    return [f"{letters} dead letters"] if letters else []


def kill_points(run: Run) -> Result:
    """Kill workers at every point of their loop, three at a time, with tasks flowing."""
    times = run.scale(2, 50)
    deaths = list(POINTS) * times
    run.chance.shuffle(deaths)
    with Arena(run) as arena, mortals(arena, WORKER_MAX_DELIVERIES="1000") as fleet:
        gone = Consumer(arena.client, arena.parts[0].task_streams, WORKERS, "gone")
        gone.join()
        producer = arena.produce(200_000, rate=200.0)
        for point in deaths:
            wait_deaths(fleet, gone, SLOTS - 1)
            passing = 1 if point.startswith(("join", "leave")) else run.chance.randint(1, 3)
            start_doomed(fleet, doomed(point, passing))
        wait_deaths(fleet, gone, 0)
        producer.stop()
        arena.fleet.start(SLOTS).wait_reading()
        recovery = arena.drain()
        violations = [*late(recovery), *buried(arena)]
        note = f"{len(POINTS)} points, {times} times each"
        return arena.result(len(deaths), recovery, *violations, note=note)


def mortals(arena: Arena, **env: str) -> Fleet:
    """Workers that die where they are told, in a folder of their own."""
    directory = arena.run.directory / "mortals"
    directory.mkdir()
    return Fleet(arena.url, directory, MORTAL, **env)


def wait_deaths(fleet: Fleet, gone: Consumer, left: int) -> None:
    """Wait until at most so many workers live; meanwhile there is always something to claim.

    Raises:
        FatalError: they did not die in time, or one ended otherwise.
    """
    deadline = time.monotonic() + 60.0
    while len(fleet.alive) > left:
        gone.read(1, 0)
        time.sleep(0.1)
        if time.monotonic() > deadline:
            raise FatalError(f"workers {fleet.alive} do not die")
    if otherwise := survivors(fleet):
        raise FatalError("; ".join(otherwise))


def start_doomed(fleet: Fleet, env: dict[str, str]) -> None:
    """Start a worker that will die, in the place of one that did."""
    dead = [n for n in range(len(fleet.processes)) if n not in fleet.alive]
    if dead:
        fleet.replace(dead[0], **env)
    else:
        fleet.start(1, **env)


def survivors(fleet: Fleet) -> list[str]:
    """Who ended otherwise than by being killed."""
    return [
        f"worker {number} ended with {process.returncode}: …{fleet.log(number)[-600:]}"
        for number, process in enumerate(fleet.processes)
        if process.poll() not in {None, -signal.SIGKILL}
    ]


def kills_under_load(run: Run) -> Result:
    """Kill workers that hold something, at random progress; the last one on a silent stream."""
    kills, tasks = run.scale(8, 50), run.scale(10_000, 100_000)
    with Arena(run, WORKER_LEASE_MS="5000") as arena:
        arena.fleet.start(3).wait_reading()
        producer = arena.produce(tasks)
        for kill in range(kills):
            arena.wait_finished((kill + run.chance.random()) * tasks / (kills + 1))
            if kill == kills - 1:
                producer.join()
            number = freeze_holder(run, arena)
            arena.fleet.kill(number)
            arena.fleet.replace(number)
        recovery = arena.drain()
        violations = [*late(recovery), *buried(arena)]
        return arena.result(kills, recovery, *violations, note=f"{tasks:,} tasks")


def paused_worker(run: Run) -> Result:
    """Stop workers for three leases while others take over what they hold, and let them go on."""
    pauses = run.scale(4, 20)
    with Arena(run, WORKER_LEASE_MS="500") as arena:
        arena.fleet.start(3).wait_reading()
        producer = arena.produce(200_000, rate=1_000.0)
        for _ in range(pauses):
            number = freeze_holder(run, arena)
            time.sleep(3 * 0.5)
            wait_taken_over(arena, number)
            arena.fleet.thaw(number)
        producer.stop()
        recovery = arena.drain()
        late_verdicts = sum(map(too_late, end(arena)))
        violations = [*late(recovery), *buried(arena)]
        if late_verdicts < pauses:
            violations.append(f"only {late_verdicts} settlements came too late")
        note = f"{late_verdicts} duplicate or fenced"
        return arena.result(pauses, recovery, *violations, note=note)


def term_in_mid_batch(run: Run) -> Result:
    """TERM workers that hold something. A lease is so long that waiting for one would show."""
    times = run.scale(8, 100)
    violations: list[str] = []
    slowest = 0.0
    with Arena(run, WORKER_LEASE_MS="60000") as arena:
        arena.fleet.start(3).wait_reading()
        producer = arena.produce(500_000, rate=500.0)
        for _ in range(times):
            number = freeze_holder(run, arena)
            begun = time.monotonic()
            arena.fleet.thaw(number)
            if code := arena.fleet.terminate(number, within=10.0):
                violations.append(f"worker {number} exited with {code}")
            slowest = max(slowest, time.monotonic() - begun)
            if arena.fleet.processes[number].pid in members(arena):
                violations.append(f"worker {number} is still a member")
            arena.fleet.replace(number)
        producer.stop()
        recovery = arena.drain(PATIENCE)
        violations += buried(arena)
        return arena.result(times, recovery, *violations, note=f"slowest exit {slowest:.1f} s")


def deadly_task(run: Run) -> Result:
    """Tasks that kill whoever handles them; one of the two workers is always called the same."""
    deadly = run.scale(2, 10)
    settings = load(Settings, {})
    with Arena(run) as arena, mortals(arena, WORKER_LEASE_MS="300") as fleet:
        names: tuple[dict[str, str], ...] = ({"WORKER_NAME": "namesake"}, {})
        for env in names:
            fleet.start(1, **env)
        fleet.wait_reading()
        producer = arena.produce(100_000, rate=200.0)
        ids = submit_deadly(run, arena, deadly)
        deaths = 0
        deadline = time.monotonic() + 30.0 * deadly
        while arena.client.xlen(arena.parts[0].dead) < deadly and time.monotonic() < deadline:
            for number in {0, 1}.difference(fleet.alive):
                deaths += 1
                fleet.replace(number, **names[number])
            time.sleep(0.01)
        producer.stop()
        recovery = arena.drain()
        violations = [*late(recovery), *survivors(fleet)]
        violations += wrong_letters(arena, ids, settings.max_deliveries)
        if deaths > deadly * settings.max_deliveries:
            violations.append(f"{deaths} deaths by {deadly} tasks")
        return arena.result(deaths, recovery, *violations, note=f"{deadly} deadly tasks")


def scale_up_and_down(run: Run) -> Result:
    """From one worker to eight and back, with tasks flowing."""
    times = run.scale(1, 5)
    violations: list[str] = []
    with Arena(run) as arena:
        arena.fleet.start().wait_reading()
        producer = arena.produce(500_000, rate=1_000.0)
        for _ in range(times):
            more = len(arena.fleet.processes)
            arena.fleet.start(7)
            wait_until(lambda: len(members(arena)) == 8, "eight workers", 60.0)  # noqa: PLR2004
            leaving = list(range(more, more + 7))
            run.chance.shuffle(leaving)
            violations += [
                f"worker {number} exited with {code}"
                for number in leaving
                if (code := arena.fleet.terminate(number))
            ]
            left = set(members(arena)) - {arena.fleet.processes[0].pid}
            violations += [f"a member is left of {pid}" for pid in left]
        producer.stop()
        recovery = arena.drain()
        violations += [*late(recovery), *buried(arena)]
        return arena.result(7 * times, recovery, *violations, note="workers that came and went")


def submit_deadly(run: Run, arena: Arena, count: int) -> list[str]:
    """Submit tasks that kill whoever handles them, among others; returns their ids."""
    ids = arena.ids(count)
    for task_id in ids:
        arena.client.xadd(arena.parts[0].tasks, {"task_id": task_id, "description": DEADLY})
        arena.submit(run.chance.randint(1, 50))
    arena.history.note("ok", ids)
    return ids


def wrong_letters(arena: Arena, ids: list[str], deliveries: int) -> list[str]:
    """Who is dead and should not be, or after another number of deliveries."""
    letters = [fields for _, fields in ranges.forward(arena.client, arena.parts[0].dead)]
    found = sorted((buried_id(each), each[b"reason"], int(each[b"attempts"])) for each in letters)
    wanted = sorted((each, TOO_MANY_DELIVERIES.encode(), deliveries + 1) for each in ids)
    return [] if found == wanted else [f"dead letters: {found}"]


ROWS = (
    Row("kill-points", "a worker killed at any step loses and doubles nothing", kill_points),
    Row("kills-under-load", "all is done 15 s after the last kill, unaided", kills_under_load),
    Row("paused-worker", "a worker that wakes too late changes nothing", paused_worker),
    Row("term-in-mid-batch", "exit in 10 s, nothing left for a lease", term_in_mid_batch),
    Row("deadly-task", "dead after N deliveries, and it alone", deadly_task),
    Row("scale-1-8-1", "who leaves takes nothing along and is forgotten", scale_up_and_down),
)
