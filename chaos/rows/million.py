"""A million tasks through a cluster whose masters die, and nothing of them is left behind."""

from __future__ import annotations

import threading
import time
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from chaos.arena import MASTERS, Arena
from chaos.cluster import Cluster
from chaos.collector import Collector
from chaos.history import violations
from chaos.matrix import Result, Row, judged
from chaos.producer import WORDS
from chaos.servers import wait_until
from contracts.messages import Task
from streams.connect import connect
from streams.keys import WORKERS
from streams.producer import Producer

if TYPE_CHECKING:
    from chaos.matrix import Run

PARTITIONS, FLEET, KILLS = 8, 3, 2
BATCH = 2_000  # tasks the producer has in hand
AHEAD = 30_000  # tasks that may be on their way
KEPT = 100  # entries that each partition's record of decisions keeps
AWAY = 3.0  # seconds a master is gone: longer than the node timeout
FORGOTTEN_WITHIN = 120.0  # seconds from the last task until expiry and trimming are through
SLACK = 2_000_000  # bytes of a server's own buffers and tables that come and go


class Memory(NamedTuple):
    """What a queue takes: bytes by server, and keys and consumers over all of them."""

    used: list[int]
    keys: int
    consumers: int

    @classmethod
    def of(cls, arena: Arena, cluster: Cluster) -> Memory:
        """Measure it."""
        used, keys = [], 0
        for node in cluster.nodes:
            with node.client() as client:
                used.append(int(client.info("memory")["used_memory"]))
                keys += int(client.dbsize())
        members = [len(arena.client.xinfo_consumers(part.tasks, WORKERS)) for part in arena.parts]
        return cls(used, keys, max(members))

    @property
    def total(self) -> str:
        """For the table."""
        return f"{sum(self.used) / 1e6:.1f} MB in {self.keys} keys"

    def beyond(self, before: Memory) -> list[str]:
        """What there is more of than before, one line each."""
        grown = [
            f"server {number} grew from {was:,} to {now:,} bytes"
            for number, (was, now) in enumerate(zip(before.used, self.used, strict=True))
            if now > was + SLACK
        ]
        grown += [f"{self.keys} keys, {before.keys} before"] if self.keys > before.keys else []
        if self.consumers > before.consumers:
            grown.append(f"{self.consumers} consumers, {before.consumers} before")
        return grown


def million(run: Run) -> Result:
    """Send tasks through, kill masters meanwhile, and wait until all is as it was."""
    count = run.scale(20_000, 1_000_000)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(run.directory / "cluster", "--appendfsync", "always"))
        arena = stack.enter_context(
            Arena(
                run,
                url=cluster.url,
                partitions=PARTITIONS,
                keep=False,
                WORKER_IDEMPOTENCY_S=str(run.scale(10, 30)),
                WORKER_DECISIONS_MAX=str(KEPT),
            )
        )
        collector = stack.enter_context(Collector(cluster.url, arena.parts, MASTERS))
        arena.fleet.start(FLEET).wait_reading()
        wait_until(lambda: arena.client.exists(arena.parts[0].chores), "everything is as it stays")
        before = Memory.of(arena, cluster)
        begun = time.monotonic()
        producer = threading.Thread(target=_produce, args=(arena, collector, count), daemon=True)
        producer.start()
        for number in range(1, KILLS + 1):
            reached = number * count // (KILLS + 1)
            wait_until(lambda: collector.finished >= reached, f"{reached} tasks", 600.0)  # noqa: B023 - called in this turn
            killed = run.chance.choice(cluster.masters())
            killed.kill()
            time.sleep(AWAY)
            killed.start()
            cluster.wait_ok()
        producer.join(600.0)
        wait_until(lambda: collector.finished >= count, "all tasks", 120.0)
        seconds = time.monotonic() - begun
        after = _settled(arena, cluster, collector, before)
        lost, doubled, found = judged(violations(arena.history.seen, collector.outputs()))
        return Result(
            runs=KILLS,
            lost=lost,
            doubled=doubled,
            violations=(*found, *after.beyond(before)),
            note=f"{count:,} tasks, {count / seconds:,.0f}/s; {before.total} before, {after.total} "
            f"after",
        )


def _produce(arena: Arena, collector: Collector, count: int) -> None:
    """Submit tasks until each is confirmed, never too far ahead of what comes out."""
    with connect(arena.url, role="producer") as client:
        producer = Producer(client, arena.parts)
        sent = 0
        while sent < count:
            tasks = [_task(task_id) for task_id in arena.ids(min(BATCH, count - sent))]
            for each in producer.submit_surely(tasks):
                arena.history.note(each.verdict, [each.task_id])
            sent += len(tasks)
            ahead = len(arena.history.seen) - AHEAD
            wait_until(lambda: collector.finished >= ahead, "what is on its way", 120.0)  # noqa: B023 - called in this turn


def _task(task_id: str) -> Task:
    return Task(task_id=task_id, description=WORDS[zlib.crc32(task_id.encode()) % len(WORDS)])


def _settled(arena: Arena, cluster: Cluster, collector: Collector, before: Memory) -> Memory:
    """Wait until everything is acknowledged, expired and trimmed; returns what is left."""
    wait_until(lambda: arena.idle() and collector.empty, "all is acknowledged", 60.0)
    deadline = time.monotonic() + FORGOTTEN_WITHIN
    while (now := Memory.of(arena, cluster)).beyond(before) and time.monotonic() < deadline:
        time.sleep(0.5)
    return now


ROWS = (
    Row(
        "cluster-million",
        "a master killed twice: everything once, and memory returns to its start",
        million,
        bounded=False,  # the rows of cluster.py are its faults, in small
    ),
)
