"""Faults of a primary with a replica and Sentinels: what a failover may cost, and what not."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import redis

from chaos.arena import MASTERS, Arena
from chaos.collector import Collector
from chaos.confirmed import Confirmed
from chaos.fleet import Fleet
from chaos.matrix import Result, Row
from chaos.proxy import Proxy
from chaos.sentinels import Sentinels
from chaos.servers import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from chaos.history import Seen
    from chaos.matrix import Run
    from chaos.servers import Server

BACK = 5.0  # seconds from a promotion until workers decide again
ON_ITS_WAY = 0.5  # seconds at most from a write until its replica has it, while nothing is held
LAG = 1  # seconds without word from a replica until a primary refuses writes
WINDOW = LAG + 3.0  # word comes every second, and is looked for every second
HELD = 100  # tasks that are taken and decided while the replica gets nothing


def failover(run: Run) -> Result:
    """Kill a primary whose replica lags; its replica takes over without the last writes."""
    kills = run.scale(1, 5)
    with ExitStack() as stack:
        ports = (free_port(), free_port())
        proxies = [stack.enter_context(Proxy(("127.0.0.1", port), raw=True)) for port in ports]
        at = dict(zip(ports, proxies, strict=True))
        queue = stack.enter_context(
            Sentinels(run.directory / "queue", ports=ports, through=[proxies[0].port])
        )
        arena = stack.enter_context(Arena(run, url=queue.url))
        collector = stack.enter_context(Collector(queue.url, arena.parts, MASTERS))
        arena.fleet.start(3).wait_reading()
        held: list[tuple[float, float]] = []
        recovery = 0.0
        with Confirmed(queue.url, arena.parts, arena.history):
            for number in range(kills):
                old = queue.primary
                link = at[old.port or 0]
                held.append(_kill_behind(arena, collector, old, link))
                new = queue.wait_for_failover(old)
                recovery = max(recovery, _seconds_until_decided(new, arena))
                if number < kills - 1:
                    _rejoin(queue, old, at[new.port or 0])
        arena.drain()
        wait_until(lambda: collector.empty, "masters took everything")
        return _judged(arena, collector, held, recovery)


def split_brain(run: Run) -> Result:
    """Cut a primary off from replicas and Sentinels while some still reach it, then heal that."""
    with ExitStack() as stack:
        ports = (free_port(), free_port(), free_port())
        link, way_in = (
            stack.enter_context(Proxy(("127.0.0.1", ports[0]), raw=True)) for _ in range(2)
        )
        queue = stack.enter_context(
            Sentinels(
                run.directory / "queue",
                *("--min-replicas-to-write", "1", "--min-replicas-max-lag", str(LAG)),
                ports=ports,
                through=[link.port] * 2,
                primary_at=way_in.port,
            )
        )
        arena = stack.enter_context(Arena(run, url=queue.url))
        old = queue.primary
        inside = stack.enter_context(Fleet(old.url, _folder(run, "inside")))
        inside.start(2).wait_reading()
        arena.fleet.start(2).wait_reading()
        with (
            Confirmed(old.url, arena.parts, arena.history, name="inside") as stranded,
            Confirmed(queue.url, arena.parts, arena.history, name="outside"),
        ):
            wait_until(lambda: arena.history.count("ok") >= 2 * HELD, "replicas confirm")
            cut = time.monotonic()
            link.hold()
            way_in.refuse()
            way_in.cut()
            new = queue.wait_for_failover(old)
            recovery = _seconds_until_decided(new, arena)
            wait_until(lambda: _refuses(old), "the old primary refuses writes")
            open_for = stranded.accepted - cut
            confirmed = arena.history.count("ok")
            wait_until(lambda: arena.history.count("ok") >= confirmed + HELD, "life goes on")
            link.heal()
            way_in.heal()
            wait_until(lambda: _is_replica(old), "the old primary follows the new one")
            open_for = max(open_for, stranded.accepted - cut)
        inside.close()
        arena.drain()
        late = [f"took writes for {open_for:.1f} s, cut off"] if open_for > WINDOW else []
        outputs = arena.outputs()
        lost = _missing(arena.history.seen, outputs.dead, *outputs.masters.values())
        harmless = [] if lost else ["no write was lost: the fault was not injected"]
        note = f"took writes for {open_for:.1f} s; {lost} not confirmed by WAIT lost"
        return arena.result(1, recovery, *late, *_amiss(arena, recovery), *harmless, note=note)


def _kill_behind(
    arena: Arena, collector: Collector, primary: Server, link: Proxy
) -> tuple[float, float]:
    """Let the primary run ahead of its replica, then kill it; returns from when to when it did."""
    history = arena.history
    wait_until(lambda: history.count("ok") >= HELD, "replicas confirm")
    link.hold()
    begun = time.time() - ON_ITS_WAY
    doubtful, taken = history.count("unknown"), collector.finished
    wait_until(lambda: history.count("unknown") >= doubtful + HELD, "writes no replica has")
    wait_until(lambda: collector.finished >= taken + HELD, "decisions no replica has")
    primary.kill()
    link.cut()
    link.heal()
    return begun, time.time()


def _seconds_until_decided(primary: Server, arena: Arena) -> float:
    """From a promotion until workers decide what was submitted after it."""
    begun = time.monotonic()
    with primary.client() as client:
        (keys,) = arena.parts
        before = client.xlen(keys.decisions)
        wait_until(lambda: client.xlen(keys.decisions) > before, "decisions after a failover")
    return time.monotonic() - begun


def _rejoin(queue: Sentinels, server: Server, source: Proxy) -> None:
    """Start what was killed, as a replica that gets everything through a proxy."""
    server.start()
    with server.client() as client:
        client.replicaof("127.0.0.1", str(source.port))
    wait_until(lambda: _is_replica(server), "in sync again")
    queue.wait_ok()


def _amiss(arena: Arena, recovery: float) -> list[str]:
    """Workers that were late, or did not live through it."""
    late = [f"{recovery:.1f} s until workers decided again"] if recovery > BACK else []
    ended = [f"worker {n} ended" for n, each in enumerate(arena.fleet.processes) if each.poll()]
    return [*late, *ended]


def _refuses(server: Server) -> bool:
    with server.client() as client:
        try:
            client.set("probe", "")
        except redis.ResponseError:  # NOREPLICAS
            return True
        except redis.ConnectionError:  # see `_is_replica`
            return False
    return False


def _is_replica(server: Server) -> bool:
    try:
        with server.client() as client:
            known = client.info("replication")
    except redis.ConnectionError:  # Sentinels close all connections of what they make a replica
        return False
    return bool(known["role"] == "slave" and known["master_link_status"] == "up")


def _folder(run: Run, name: str) -> Path:
    directory = run.directory / name
    directory.mkdir()
    return directory


def _judged(
    arena: Arena, collector: Collector, held: list[tuple[float, float]], recovery: float
) -> Result:
    """Masters may get twice what was decided while the replica lagged, and nothing else."""
    repeated = collector.repeated()
    beyond = [
        f"given to masters twice without a cause: {task_id}"
        for task_id, entries in repeated.items()
        if not any(
            begun <= _seconds(entry) <= ended for entry in entries[:-1] for begun, ended in held
        )
    ]
    outputs = arena.outputs()
    lost = _missing(arena.history.seen, outputs.dead, *outputs.masters.values())
    harmless = [] if lost else ["no write was lost: the fault was not injected"]
    note = f"{lost} not confirmed by WAIT lost, {len(repeated)} given to masters twice"
    return arena.result(
        len(held), recovery, *beyond, *_amiss(arena, recovery), *harmless, note=note
    )


def _missing(seen: Mapping[str, Seen], *outputs: Collection[str]) -> int:
    there = {task_id for output in outputs for task_id in output}
    return sum(verdict == "unknown" and task_id not in there for task_id, verdict in seen.items())


def _seconds(entry_id: bytes) -> float:
    """When an entry was added, by the server's clock, which is ours."""
    return int(entry_id.partition(b"-")[0]) / 1000


ROWS = (
    Row(
        "sentinel-failover",
        "what WAIT confirmed survives a failover; workers are back within 5 s",
        failover,
    ),
    Row(
        "split-brain",
        "a primary cut off soon refuses writes, and takes none along that WAIT confirmed",
        split_brain,
    ),
)
