"""What the disk keeps: a killed server, lost power, damaged logs, a full disk."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from chaos.aof import Saved
from chaos.arena import Arena
from chaos.history import violations
from chaos.journal import Journal
from chaos.matrix import Result, Row, judged
from chaos.proxied import PROMISED
from chaos.servers import Server, wait_until
from chaos.stall import FSYNC, stalled
from streams import ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chaos.history import Seen
    from chaos.matrix import Run

_FILES = 3  # base, increment, manifest
# Seconds that a write may wait in the server's memory for a sync that is under way (everysec): 2,
# by a clock of whole seconds, and some for this process to notice.
_POSTPONED = 2.5


@contextmanager
def _journaled(run: Run, policy: str) -> Iterator[tuple[Arena, Journal]]:
    """A queue with a worker and a journal, whose tasks are never trimmed: it says what it knows."""
    server = Server(run.directory / "server", "--appendfsync", policy)
    with Arena(run, server=server) as arena, Journal(arena) as journal:
        (keys,) = arena.parts
        arena.client.xgroup_create(keys.tasks, "checker", id="0", mkstream=True)
        arena.fleet.start(1).wait_reading()
        yield arena, journal


def _known(arena: Arena) -> set[str]:
    """Ids of all tasks that the server knows of."""
    (keys,) = arena.parts
    return {fields[b"task_id"].decode() for _, fields in ranges.forward(arena.client, keys.tasks)}


def _violations(arena: Arena, required: Iterable[str]) -> list[str]:
    """What is wrong: each task the server knows must be decided once, and each required known."""
    seen: dict[str, Seen] = dict.fromkeys([*required, *_known(arena)], "ok")
    return violations(seen, arena.outputs())


def killed_server(policy: str, kill: Callable[[Run, Server], None], run: Run) -> Result:
    """The server is killed while tasks flow; what is missing afterwards must be excused."""
    kills = run.scale(3, 20)
    excused: set[str] = set()
    slowest = oldest = 0.0
    with _journaled(run, policy) as (arena, journal):
        for _ in range(kills):
            arena.wait_finished(arena.finished() + run.chance.randrange(50, 500))
            kill(run, arena.server)
            killed = time.monotonic()
            arena.server.start()
            again = time.monotonic()
            known = _known(arena)
            accounted = known | excused
            missing = [
                batch
                for batch in list(journal.batches)
                if batch.at < killed and not accounted.issuperset(batch.ids)
            ]
            oldest = max([oldest, *(killed - batch.at for batch in missing)])
            if policy == "everysec":
                excusable = [batch for batch in missing if killed - batch.at < _POSTPONED]
                excused.update(i for batch in excusable for i in batch.ids if i not in known)
            arena.wait_finished(arena.finished() + 100, PROMISED)
            slowest = max(slowest, time.monotonic() - again)
        journal.stop()
        slowest = max(slowest, arena.drain(PROMISED))
        required = {i for batch in journal.batches for i in batch.ids} - excused
        lost, doubled, found = judged(_violations(arena, required))
    if kill is _with_a_stalled_sync and not excused:
        found = (*found, "no write was waiting for a sync")
    note = f"{len(excused)} confirmed tasks gone, up to {oldest:.1f} s old" if excused else ""
    return Result(
        runs=kills, lost=lost, doubled=doubled, recovery=slowest, violations=found, note=note
    )


def _at_once(_run: Run, server: Server) -> None:
    server.kill()


def _with_a_stalled_sync(run: Run, server: Server) -> None:
    """Kill it within the two seconds for which it waits for a disk that hangs."""
    with stalled(server.pid, FSYNC):
        later = time.monotonic() + run.chance.uniform(1.2, 2.0)  # syncs begin once a second
        wait_until(lambda: time.monotonic() > later, "time passes")
        os.kill(server.pid, signal.SIGKILL)
    server.kill()


def lost_power(policy: str, run: Run) -> Result:
    """The log ends anywhere, as after a power cut, and a worker that lived on goes on with it.

    A log is only ever appended to, so that what a power cut leaves is a beginning of it, at least
    as long as what was synced before. So what is lost are the last tasks and no others; with
    `always` none that was confirmed when the log was no longer than what is left of it; with
    `everysec` none that was confirmed some seconds before the log was that long.
    """
    cuts = run.scale(25, 160)
    found: list[str] = []
    slowest = late = 0.0
    with _journaled(run, policy) as (arena, journal):
        _write_base(arena)
        enough = len(journal.batches) + run.scale(50, 150)
        wait_until(lambda: len(journal.batches) > enough, "load")
        saved = Saved(arena.server.directory, run.directory / "saved")
        journal.stop()
        for _ in range(cuts):
            arena.server.kill()
            offset = run.chance.randrange(len(saved.increment) + 1)
            saved.put(arena.server.directory, saved.increment[:offset])
            arena.server.start()
            slowest = max(slowest, arena.drain(PROMISED))
            known = _known(arena)
            later = [batch for batch in journal.batches if not known.issuperset(batch.ids)]
            kept = [batch for batch in journal.batches if not known.isdisjoint(batch.ids)]
            reached = next((b.at for b in journal.batches if b.size >= offset), float("inf"))
            wait = max([0.0, *(reached - batch.at for batch in later)])
            late = max(late, wait)
            required = {i for batch in kept[:-1] for i in batch.ids}
            if policy == "always":
                required |= {i for b in journal.batches if b.size <= offset for i in b.ids}
            elif wait > _POSTPONED:
                found.append(f"cut at {offset}: confirmed {wait:.1f} s before it was written")
            found += [f"{line} (cut at {offset})" for line in _violations(arena, required)]
    lost, doubled, listed = judged(found)
    note = f"confirmed at most {late:.2f} s before it was written"
    return Result(
        runs=cuts, lost=lost, doubled=doubled, recovery=slowest, violations=listed, note=note
    )


def _write_base(arena: Arena) -> None:
    """Have the server write a base of what there is, and begin a new increment."""
    arena.wait_finished(200)
    arena.client.bgrewriteaof()
    files = arena.server.directory / "appendonlydir"
    wait_until(
        lambda: (
            any(".2.base" in each.name for each in files.iterdir())
            and len(list(files.iterdir())) == _FILES
        ),
        "a new base",
    )


ROWS = (
    Row(
        "server-killed-always",
        "what was confirmed outlives the server",
        partial(killed_server, "always", _at_once),
    ),
    Row(
        "server-killed-everysec",
        "but for writes that waited for a sync, 2 s at most, so does what was confirmed",
        partial(killed_server, "everysec", _at_once),
    ),
    Row(
        "stalled-disk",
        "a kill while a sync hangs loses no more than 2 s",
        partial(killed_server, "everysec", _with_a_stalled_sync),
    ),
    Row(
        "power-lost-always",
        "what was confirmed is there, and all that is there is decided once",
        partial(lost_power, "always"),
    ),
    Row(
        "power-lost-everysec",
        "only the last tasks are gone, and all that is there is decided once",
        partial(lost_power, "everysec"),
    ),
)
