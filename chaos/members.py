"""Who is in the group of workers, what each holds, and what each says at its end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import orjson

from chaos.servers import wait_until
from streams.keys import WORKERS

if TYPE_CHECKING:
    from chaos.arena import Arena
    from chaos.matrix import Run


def members(arena: Arena) -> Counter[int]:
    """Entries that each member of the group holds, by process id; those that hold none too."""
    holds: Counter[int] = Counter()
    for stream in arena.parts[0].task_streams:
        for member in arena.client.xinfo_consumers(stream, WORKERS):
            _host, *rest = member["name"].decode().rsplit("-", 2)
            if rest:  # "retry" has no process
                holds[int(rest[0])] += member["pending"]
    return holds


def held(arena: Arena) -> list[int]:
    """Entries that each process of the fleet holds."""
    holds = members(arena)
    return [holds[process.pid] for process in arena.fleet.processes]


def holder(run: Run, arena: Arena) -> int:
    """Wait until some worker holds something; returns the number of one that does."""
    holders: list[int] = []

    def found() -> list[int]:
        holders[:] = [number for number, entries in enumerate(held(arena)) if entries]
        return holders

    wait_until(found, "some worker holds something")
    return run.chance.choice(holders)


def freeze_holder(run: Run, arena: Arena) -> int:
    """Freeze a worker that holds something and still does when it stands; returns its number."""
    while True:
        number = holder(run, arena)
        arena.fleet.freeze(number)
        if held(arena)[number]:
            return number
        arena.fleet.thaw(number)


def wait_taken_over(arena: Arena, number: int) -> None:
    """Wait until others hold what a worker held."""
    wait_until(lambda: not held(arena)[number], f"others took over from worker {number}")


def end(arena: Arena) -> list[dict[str, int]]:
    """TERM every worker; returns what each says of itself at the end: settlements by verdict."""
    for number in arena.fleet.alive:
        arena.fleet.terminate(number)
    logs = map(arena.fleet.log, range(len(arena.fleet.processes)))
    lines = [orjson.loads(line) for log in logs for line in log.splitlines() if '"stopped"' in line]
    return [{key: n for key, n in line.items() if isinstance(n, int)} for line in lines]


def too_late(verdicts: dict[str, int]) -> int:
    """How many settlements came after somebody else's."""
    return verdicts.get("duplicate", 0) + verdicts.get("fenced", 0)
