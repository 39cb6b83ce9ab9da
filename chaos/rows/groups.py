"""Faults of the queue itself: groups that vanish, retries, priorities, a long pending list."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from statistics import median, quantiles
from typing import TYPE_CHECKING

import orjson

from chaos.arena import Arena
from chaos.matrix import Result, Row
from chaos.mortal import failing
from chaos.rows.workers import late, mortals, wrong_letters
from chaos.servers import Server, wait_until
from streams import ranges
from streams.consumer import Consumer
from streams.keys import WORKERS

if TYPE_CHECKING:
    from redis import Redis

    from chaos.fleet import Fleet
    from chaos.matrix import Run

_ALWAYS = 1_000  # more times than anything is delivered
LEASE = 0.6  # seconds, where waits between tries are measured
BATCH = 32  # most tasks of a reading, where the order of readings is measured
WORKERS_AT_ONCE = 3
SHARES, TOLERANCE = (3 / 4, 3 / 16, 1 / 16), 0.03  # of readings that begin with each stream
LONGEST_WAIT = 16  # readings of a worker, of which one at least begins with the low stream
HOUR_MS = 3_600_000  # a lease that does not lapse
SERVER_MS = 5.0  # of the server's time for one look at the pending list
PING_MS = 10.0  # for anybody else meanwhile, beyond what this machine adds by itself
PAGE = 10_000  # entries read at once by the consumer that then vanishes


def group_deleted(run: Run) -> Result:
    """Delete the group of the tasks, again and again, under load."""
    times = run.scale(3, 20)
    with Arena(run) as arena:
        arena.fleet.start(3).wait_reading()
        producer = arena.produce(500_000, rate=1_000.0)
        for count in range(1, times + 1):
            arena.wait_finished(arena.finished() + run.chance.randint(100, 1_000))
            arena.client.xgroup_destroy(arena.parts[0].tasks, WORKERS)
            wait_alarms(arena.fleet, count)
        producer.stop()
        recovery = arena.drain()
        return arena.result(times, recovery, *late(recovery))


def flushed(run: Run) -> Result:
    """FLUSHALL under running workers, with a backlog."""
    times = run.scale(2, 10)
    slowest = 0.0
    with Arena(run) as arena:
        arena.fleet.start(3).wait_reading()
        for count in range(1, times + 1):
            arena.submit(run.chance.randint(2_000, 5_000))
            arena.client.flushall()
            arena.keep_outputs()
            seen = arena.history.seen
            seen.update(dict.fromkeys(seen, "unknown"))
            wait_alarms(arena.fleet, count)
            arena.submit(1_000)
            slowest = max(slowest, arena.drain())
        note = "what was flushed is gone; nothing after it"
        return arena.result(times, slowest, *late(slowest), note=note)


def wait_alarms(fleet: Fleet, count: int) -> None:
    """Wait until workers said so often that a group was gone."""

    def said() -> int:
        logs = map(fleet.log, range(len(fleet.processes)))
        return sum(log.count('"group was gone') for log in logs)

    wait_until(lambda: said() >= count, f"a worker says for the {count}. time that it is gone")


def failing_task(run: Run) -> Result:
    """Tasks that raise an error nobody thought of: some a few times, one always."""
    deliveries = run.scale(3, 5)
    env = {"WORKER_LEASE_MS": f"{LEASE * 1000:.0f}", "WORKER_MAX_DELIVERIES": str(deliveries)}
    with Arena(run) as arena, mortals(arena, **env) as fleet:
        fleet.start().wait_reading()
        producer = arena.produce(100_000, rate=200.0)
        ids = arena.ids(deliveries + 1)
        # A batch that fails is handled again one by one, so that a delivery may fail twice.
        for times, task_id in zip([*range(deliveries), _ALWAYS], ids, strict=True):
            text = failing(times)
            arena.client.xadd(arena.parts[0].tasks, {"task_id": task_id, "description": text})
        arena.history.note("ok", ids)
        wait_until(lambda: arena.client.xlen(arena.parts[0].dead), "it is dead", 120.0)
        producer.stop()
        recovery = arena.drain()
        violations = [*late(recovery), *wrong_letters(arena, ids[-1:], deliveries)]
        violations += wrong_waits(arena, fleet)
        return arena.result(deliveries, recovery, *violations, note=f"{deliveries} tries")


def wrong_waits(arena: Arena, fleet: Fleet) -> list[str]:
    """Which tries, and which end, came too soon: a lease, then twice as long after each."""
    tries: dict[str, list[float]] = {}
    for line in map(orjson.loads, fleet.log(0).splitlines()):
        if line["event"] == "left pending":
            tries.setdefault(line["entry"], []).append(seconds(line["timestamp"]))
    for _, letter in ranges.forward(arena.client, arena.parts[0].dead):
        tries[letter[b"entry_id"].decode()].append(seconds(letter[b"at"].decode()))
    return [
        f"waited {after - before:.2f} s after try {number}"
        for each in tries.values()
        for number, (before, after) in enumerate(pairwise(each), start=1)
        if after - before < LEASE * 2 ** (number - 1)
    ]


def seconds(timestamp: str) -> float:
    """Moment of an RFC 3339 timestamp, in seconds."""
    return datetime.fromisoformat(timestamp).timestamp()


def priorities(run: Run) -> Result:
    """Fill all three streams of tasks, then let workers at them."""
    each = run.scale(4_000, 30_000)
    with Arena(run, WORKER_BATCH=str(BATCH)) as arena:
        urgency = {
            task_id: stream
            for stream in arena.parts[0].task_streams
            for task_id in submit_to(arena, stream, each)
        }
        arena.fleet.start(WORKERS_AT_ONCE)
        recovery = arena.drain(120.0)
        order = [urgency[task_id] for task_id in arena.outputs().decisions]
        high, normal, low = arena.parts[0].task_streams
        saturated = order[: len(order) - order[::-1].index(high)]
        shares = [saturated.count(stream) / len(saturated) for stream in (high, normal, low)]
        low_at = [-1, *(n for n, stream in enumerate(saturated) if stream == low), len(saturated)]
        longest = max(after - before for before, after in pairwise(low_at))
        violations = []
        if any(abs(is_ - should) > TOLERANCE for is_, should in zip(shares, SHARES, strict=True)):
            violations.append(f"shares of readings {shares}")
        if longest > WORKERS_AT_ONCE * LONGEST_WAIT * BATCH:
            violations.append(f"{longest} tasks in a row without one of low priority")
        note = "high {:.0%}, normal {:.0%}, low {:.0%}".format(*shares).replace("%", " %")
        return arena.result(1, recovery, *violations, note=note)


def submit_to(arena: Arena, stream: str, count: int) -> list[str]:
    """Submit new tasks of one priority; returns their ids."""
    ids = arena.ids(count)
    with arena.client.pipeline(transaction=False) as pipe:
        for task_id in ids:
            pipe.xadd(stream, {"task_id": task_id, "description": "fix the login bug"})
        pipe.execute()
    arena.history.note("ok", ids)
    return ids


def long_pending_list(run: Run) -> Result:
    """A consumer that is gone holds a million entries, and the last few of them may be claimed."""
    entries = run.scale(100_000, 1_000_000)
    with (
        Arena(run, WORKER_LEASE_MS=f"{HOUR_MS}") as arena,
        Server(run.directory / "idle") as server,
        server.client() as bystander,
    ):
        client, stream = arena.client, arena.parts[0].tasks
        gone = Consumer(client, (stream,), WORKERS, "gone", HOUR_MS)
        gone.join()
        for _ in range(entries // PAGE):
            fill(client, stream)
            gone.read(PAGE, 0)
        looks, look_ms = sweep(client, gone)
        submit_to(arena, stream, 5)
        gone.release(gone.read(5, 0))
        arena.fleet.start(2).wait_reading()
        arena.produce(2_000, rate=500.0)
        begun = time.monotonic()
        (busy, most), (idle, _) = ping_ms(client, bystander)
        arena.wait_finished(2_005)
        recovery = time.monotonic() - begun
        client.xgroup_delconsumer(stream, WORKERS, "gone")
        arena.drain()
        violations = []
        if looks < entries / PAGE or look_ms > SERVER_MS:
            violations.append(f"{looks} looks of {look_ms:.1f} ms each")
        if run.full and busy > PING_MS + 3 * idle:  # else other rows keep the machine busy
            violations.append(f"half of the PINGs took {busy:.1f} ms, on an idle server {idle:.1f}")
        note = f"{entries:,} pending, {look_ms:.1f} ms a look, PING p99 {most:.1f} ms"
        return arena.result(1, recovery, *violations, note=note)


def fill(client: Redis, stream: str) -> None:
    """Add a page of tasks that nobody will decide."""
    with client.pipeline(transaction=False) as pipe:
        for _ in range(PAGE):
            pipe.xadd(stream, {"task_id": "t", "description": "d"})
        pipe.execute()


def sweep(client: Redis, consumer: Consumer) -> tuple[int, float]:
    """Go once through the pending list; returns the number of looks, and ms of CPU for each."""
    before, looks = cpu_seconds(client), 0
    while not looks or consumer.sweeping:
        consumer.stale(64)
        looks += 1
    return looks, 1000 * (cpu_seconds(client) - before) / looks


def cpu_seconds(client: Redis) -> float:
    """CPU time of the server so far."""
    used = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def ping_ms(*clients: Redis) -> list[tuple[float, float]]:
    """What half of the PINGs and 99 of 100 take at most, of each server in turn, for three seconds.

    An idle server among them tells what this machine adds by itself.
    """
    taken: list[list[float]] = [[] for _ in clients]
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        for client, each in zip(clients, taken, strict=True):
            begun = time.perf_counter()
            client.ping()
            each.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.001)
    return [(median(each), quantiles(each, n=100)[-1]) for each in taken]


ROWS = (
    Row("group-deleted", "recreated at its beginning, with an alarm; nothing twice", group_deleted),
    Row("flushall", "an alarm; what comes after it is decided, once", flushed),
    Row("failing-task", "tried again after growing waits, then dead; it alone", failing_task),
    Row("priorities", "urgent first, and low is never starved", priorities),
    Row("a-million-pending", "looking for what to claim stays cheap", long_pending_list),
)
