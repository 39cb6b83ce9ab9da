"""Faults of memory: none left, a master that stops consuming, and what piles up over time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.request import urlopen

import orjson
from redis.exceptions import OutOfMemoryError

from chaos.arena import MASTERS, Arena
from chaos.collector import Collector
from chaos.history import violations
from chaos.masters import Masters
from chaos.matrix import Result, Row, judged
from chaos.servers import free_port, wait_until
from contracts.messages import Task
from streams.connect import connect
from streams.keys import WORKERS
from streams.producer import Producer

if TYPE_CHECKING:
    from redis import Redis

    from chaos.matrix import Run
    from streams.producer import Priority, Submission

MIB = 1 << 20
STOPPED = "development-master"
PAUSED, RESUMED = "reading paused: memory at", "reading goes on: memory at"
_RECORDS = 1_000  # what `decisions` keeps where everything is to be forgotten
_MORE_FILES = 4  # a thread that had nothing to do before opens its connection
PADDING = " padding" * 200  # makes tasks large, so that few of them fill the memory
_MINE, _OTHERS = f"fix the login bug{PADDING}", f"upgrade openssl, it has a vulnerability{PADDING}"


def limit_memory(arena: Arena, room: int) -> None:
    """Leave the server so many bytes from what it uses now."""
    arena.client.config_set("maxmemory", used(arena) + room)


def limit(arena: Arena) -> int:
    """Bytes the server may use."""
    return int(arena.client.info("memory")["maxmemory"])


def used(arena: Arena) -> int:
    """Bytes that count against `maxmemory`."""
    memory = arena.client.info("memory")
    return int(memory["used_memory"] - memory["mem_not_counted_for_evict"])


def submit(arena: Arena, producer: Producer, text: str, count: int) -> list[Submission]:
    """Submit new tasks once, and note what became of them."""
    tasks = [Task(task_id=task_id, description=text) for task_id in arena.ids(count)]
    submissions = producer.submit(tasks)
    for each in submissions:
        arena.history.note(each.verdict, [each.task_id])
    return submissions


def fill(arena: Arena, producer: Producer, port: int) -> bool:
    """Submit some tasks, for the stopped master and for others, unless reading stays paused."""
    if paused(port) and left_alone(arena, producer.client):
        return True
    submit(arena, producer, _MINE, 10)
    submit(arena, producer, _OTHERS, 10)
    return False


def left_alone(arena: Arena, client: Redis) -> bool:
    """Whether a new task stays unread for longer than a reading waits that had begun before."""
    submit(arena, Producer(client, arena.parts), _OTHERS, 1)
    before = waiting(arena)
    time.sleep(0.5)
    return 0 < before == waiting(arena)


def waiting(arena: Arena) -> int:
    """How many tasks nobody has read."""
    groups = arena.client.xinfo_groups(arena.parts[0].tasks)
    return sum(group["lag"] for group in groups)


def paused(port: int) -> bool:
    """Whether a worker says of itself that it does not read, though it is ready."""
    with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as reply:
        said: str = orjson.loads(reply.read())["reading"]
    return said.startswith("paused: memory at ")


_LONG = 180.0  # seconds: five masters on one thread report tens of thousands of outcomes


def said(arena: Arena) -> list[tuple[int, int]]:
    """How often each worker logged that reading paused, and that it goes on."""
    logs = [arena.fleet.log(number) for number in arena.fleet.alive]
    return [(log.count(PAUSED), log.count(RESUMED)) for log in logs]


def forgotten(arena: Arena) -> bool:
    """Whether settled work and old records were trimmed, and idempotency keys have expired."""
    client, keys = arena.client, arena.parts[0]
    streams = (*keys.task_streams, *map(keys.master, MASTERS))
    return (
        all(client.xlen(stream) <= 1 for stream in streams)
        and client.xlen(keys.decisions) <= _RECORDS
        and not any(client.scan_iter(match=keys.done("*"), count=1_000))
    )


class Held(NamedTuple):
    """What a process holds: bytes of resident memory, open file descriptors."""

    memory: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at a process."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), len([*Path(f"/proc/{pid}/fd").iterdir()]))


def judge(
    arena: Arena, masters: Masters, runs: int, recovery: float, *extra: str, note: str = ""
) -> Result:
    """Compare what was submitted with what the masters and the audit stream have."""
    lost, doubled, found = judged(violations(arena.history.seen, masters.outputs()))
    found = (*found, *(line for line in extra if line))
    return Result(
        runs=runs, lost=lost, doubled=doubled, recovery=recovery, violations=found, note=note
    )


def wait_all_out(arena: Arena, masters: Masters, within: float = 60.0) -> float:
    """Wait until every accepted task is with its master and nothing is pending; returns seconds."""
    begun = time.monotonic()
    wait_until(
        lambda: min(masters.count, masters.audited) >= arena.history.count("ok") and arena.idle(),
        f"every task is with its master ({masters.count} of {arena.history.count('ok')})",
        within,
    )
    return time.monotonic() - begun


def out_of_memory(run: Run) -> Result:
    """Fill the memory with tasks while no worker is there, then let everybody loose."""
    with Arena(run) as arena, Masters(arena) as masters, connect(arena.url) as client:
        producer = Producer(client, arena.parts)
        limit_memory(arena, run.scale(6, 32) * MIB)
        full = False
        while not full:
            submissions = submit(arena, producer, _MINE, 100)
            full = all(each.verdict != "ok" for each in submissions)
        unclear = [each for each in submissions if not isinstance(each.error, OutOfMemoryError)]
        accepted = arena.history.count("ok")
        arena.fleet.start(2).wait_reading()
        masters.work()
        recovery = wait_all_out(arena, masters, _LONG)
        wait_until(
            lambda: submit(arena, producer, _OTHERS, 1)[0].verdict == "ok", "tasks are taken again"
        )
        wait_all_out(arena, masters)
        return judge(
            arena,
            masters,
            1,
            recovery,
            f"refused without saying why: {unclear[0]}" if unclear else "",
            note=f"full with {accepted} tasks",
        )


def stopped_master(run: Run) -> Result:
    """Stop one master and let its queue fill the memory; then let it go on."""
    port = free_port()
    with Arena(run) as arena, Masters(arena) as masters, connect(arena.url) as client:
        # So many per tenth of a second: slow enough for workers that look four times a second.
        producer = Producer(client, arena.parts, backlog_limit=run.scale(40, 100), patience=0.5)
        others = set(MASTERS) - {STOPPED}
        masters.work(others)
        arena.fleet.start(WORKER_HEALTH_PORT=str(port)).start().wait_reading()
        limit_memory(arena, run.scale(6, 64) * MIB)
        # At first what is settled and not yet trimmed is in the way: then pauses are short.
        wait_until(lambda: fill(arena, producer, port), "reading stays paused", 120)
        flowed = sum(len(masters.taken[name]) for name in others)
        share = used(arena) / limit(arena)

        masters.work([STOPPED])
        recovery = wait_all_out(arena, masters)
        wait_until(lambda: all(a == b for a, b in said(arena)), "both workers say that they read")
        return judge(
            arena,
            masters,
            1,
            recovery,
            "" if flowed else "the others got nothing",
            "" if share < 1 else f"memory at {share:.0%}",
            *("nothing said of a pause" for pauses, _ in said(arena) if not pauses),
            note=f"paused at {share:.0%}, after {len(masters.taken[STOPPED])} tasks for one master",
        )


def piling_up(run: Run) -> Result:
    """Send many tasks through one server, and see what is left of them."""
    with Arena(run, WORKER_IDEMPOTENCY_S="1", WORKER_DECISIONS_MAX=str(_RECORDS)) as arena:
        for keys in arena.parts:
            for key in (*map(keys.master, MASTERS), keys.decisions):
                arena.client.xgroup_destroy(key, "checker")
        with Collector(arena.url, arena.parts, MASTERS) as out:
            arena.fleet.start(2).wait_reading()

            def send(count: int) -> tuple[int, int, list[Held]]:
                """Send tasks and have all of them forgotten; returns memory, keys, processes."""
                arena.produce(count).join(1_800)
                wait_until(lambda: out.finished >= arena.history.count("ok"), "all out", 600)
                wait_until(lambda: forgotten(arena), "settled work is gone", 60)
                processes = [Held.of(process.pid) for process in arena.fleet.processes]
                return used(arena), arena.client.dbsize(), processes

            tasks = run.scale(20_000, 1_000_000)
            begun = time.monotonic()
            memory, count, processes = send(tasks // 5)
            memory_after, count_after, processes_after = send(tasks - tasks // 5)
            took = time.monotonic() - begun
            consumers = [
                each["consumers"]
                for each in arena.client.xinfo_groups(arena.parts[0].tasks)
                if each["name"] == WORKERS.encode()
            ]
            outputs = out.outputs()
        lost, doubled, found = judged(violations(arena.history.seen, outputs))
        grown = [
            f"worker: {was} became {now}"
            for was, now in zip(processes, processes_after, strict=True)
            if now.memory > was.memory * 1.1 + 8 * MIB or now.files > was.files + _MORE_FILES
        ]
        grown += [f"memory: {memory} became {memory_after}"] if memory_after > memory + MIB else []
        grown += [f"keys: {count} became {count_after}"] if count_after > count else []
        grown += [f"consumers: {consumers}"] if consumers != [2] else []
        note = f"{tasks} tasks in {took:.0f} s, {(memory_after - memory) / MIB:+.2f} MiB"
        return Result(runs=1, lost=lost, doubled=doubled, violations=(*found, *grown), note=note)


def submitted_twice(run: Run) -> Result:
    """Have two producers submit the same tasks at once, one of them as urgent."""
    count = run.scale(3_000, 100_000)
    with Arena(run) as arena:
        arena.fleet.start(2).wait_reading()
        tasks = [Task(task_id=task_id, description="fix it") for task_id in arena.ids(count)]

        def produce(priority: Priority) -> None:
            with connect(arena.url) as client:
                producer = Producer(client, arena.parts)
                for start in range(0, count, 100):
                    for each in producer.submit(tasks[start : start + 100], priority):
                        arena.history.note(each.verdict, [each.task_id])

        both = [threading.Thread(target=produce, args=(each,)) for each in ("normal", "high")]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        recovery = arena.drain()
        urgent, normal, _ = arena.parts[0].task_streams
        written = sum(arena.client.xinfo_stream(s)["entries-added"] for s in (urgent, normal))
        return arena.result(count, recovery, note=f"{written} entries of {count} tasks")


ROWS = (
    Row(
        "out-of-memory",
        "tasks are refused with a clear error, workers drain what is there, all goes on by itself",
        out_of_memory,
    ),
    Row(
        "stopped-master",
        "its queue grows, others flow; reading stops at 80 % of the memory, and goes on by itself",
        stopped_master,
    ),
    Row(
        "piling-up",
        "memory, keys and consumers return to where they were; workers stay as large as they are",
        piling_up,
    ),
    Row("submitted-twice", "the same tasks from two producers are decided once", submitted_twice),
)
