"""Faults of a cluster: masters that die, slots that move, and a million tasks all the same."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from chaos.arena import Arena
from chaos.cluster import Cluster
from chaos.confirmed import Confirmed
from chaos.matrix import Result, Row
from chaos.servers import wait_until
from streams.connect import connect
from streams.partitions import partition_of, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.matrix import Run
    from chaos.servers import Server
    from streams.keys import Keys

PARTITIONS, MASTERS, WORKERS = 8, 3, 3
ENDLESS = 100_000  # tasks: more than are submitted before a row stops its producer
PROMISED = 15.0  # seconds from the end of a fault until everything is done


def master_death(run: Run) -> Result:
    """Kill masters; their replicas take over, without what was not replicated."""
    kills = run.scale(1, 5)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(run.directory / "cluster", replicas=1))
        arena = _arena(stack, run, cluster)
        recovery = without = 0.0
        with Confirmed(cluster.url, arena.parts, arena.history):
            for _ in range(kills):
                confirmed = arena.history.count("ok")
                wait_until(lambda: arena.history.count("ok") > confirmed + 100, "replicas confirm")  # noqa: B023 - called in this turn
                killed = run.chance.choice(cluster.masters())
                left = _served_by(cluster, killed, arena.parts)
                begun = time.monotonic()
                killed.kill()
                wait_until(lambda: len(cluster.masters()) == MASTERS, "a replica takes over")
                without = max(without, time.monotonic() - begun)
                recovery = max(recovery, _seconds_until_decided(cluster, left))
                killed.start()
                cluster.wait_ok()
        recovery = max(recovery, arena.drain())
        note = f"a replica took over within {without:.1f} s"
        return arena.result(kills, recovery, *_late(recovery), note=note)


def master_restart(run: Run) -> Result:
    """Kill masters without replicas, and start them again after a while."""
    kills = run.scale(1, 5)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(run.directory / "cluster", "--appendfsync", "always"))
        arena = _arena(stack, run, cluster)
        producer = arena.produce(ENDLESS, rate=400.0)
        recovery = 0.0
        for _ in range(kills):
            arena.wait_finished(arena.finished() + 200)
            killed = run.chance.choice(cluster.masters())
            left = _served_by(cluster, killed, arena.parts)
            killed.kill()
            time.sleep(run.chance.uniform(0, 3))  # noticed by the others, or not
            killed.start()
            cluster.wait_ok()
            recovery = max(recovery, _seconds_until_decided(cluster, left))
        producer.stop()
        recovery = max(recovery, arena.drain())
        return arena.result(kills, recovery, *_late(recovery))


def hole(run: Run) -> Result:
    """Keep a master without a replica away; the slots of the others are served."""
    with ExitStack() as stack:
        partial = ("--cluster-require-full-coverage", "no", "--appendfsync", "always")
        cluster = stack.enter_context(Cluster(run.directory / "cluster", *partial))
        arena = _arena(stack, run, cluster)
        arena.submit(run.scale(500, 5_000))
        killed = run.chance.choice(cluster.masters())
        away = {keys.partition for keys in _served_by(cluster, killed, arena.parts)}
        stuck, flowing = _split(arena, away, run.scale(500, 5_000))
        killed.kill()
        wait_until(lambda: _knows_of_failure(cluster), "the others notice")
        arena.producer().submit(flowing)
        wait_until(lambda: _all_decided(cluster, arena.parts, away), "the others' tasks decided")
        arena.fleet.start().wait_reading()
        killed.start()
        cluster.wait_ok()
        arena.producer().submit(stuck)
        recovery = arena.drain()
        note = f"{len(away)} of {PARTITIONS} partitions away"
        return arena.result(1, recovery, *_late(recovery), note=note)


def down(run: Run) -> Result:
    """Keep a master without a replica away, where the cluster serves all slots or none."""
    with ExitStack() as stack:
        options = ("--appendfsync", "always")
        cluster = stack.enter_context(Cluster(run.directory / "cluster", *options))
        arena = _arena(stack, run, cluster)
        arena.submit(run.scale(1_000, 10_000))
        killed = run.chance.choice(cluster.masters())
        killed.kill()
        wait_until(lambda: _is_down(cluster), "the cluster is down")
        arena.producer(once=True).submit(refused := arena.ids(100))
        accepted = [each for each in refused if arena.history.seen[each] == "ok"]
        ended = WORKERS - len(arena.fleet.alive)
        killed.start()
        cluster.wait_ok()
        recovery = arena.drain()
        wrong = [f"{len(accepted)} tasks accepted by a cluster that is down"] if accepted else []
        wrong += [f"{ended} workers ended"] if ended else []
        return arena.result(1, recovery, *wrong, *_late(recovery))


def migration(run: Run) -> Result:
    """Move the slot of a partition from master to master, under load and with idle readers."""
    moves = run.scale(3, 20)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(run.directory / "cluster"))
        arena = _arena(stack, run, cluster)
        producer = arena.produce(ENDLESS, rate=300.0)
        moved = 0
        for _ in range(moves):
            arena.wait_finished(arena.finished() + 100)
            moved += _move(run, cluster, run.chance.choice(arena.parts))
        producer.stop()
        recovery = arena.drain()
        idle = run.chance.choice(arena.parts)
        moved += _move(run, cluster, idle)
        arena.submit(PARTITIONS * 10)
        recovery = max(recovery, arena.drain())
        sent_away = _errors(cluster)
        missed = [f"nobody saw {name}" for name, count in sent_away.items() if not count]
        seen = ", ".join(f"{count} {name}" for name, count in sent_away.items())
        note = f"{moved} keys moved; {seen}"
        return arena.result(moves + 1, recovery, *missed, *_late(recovery), note=note)


def _arena(stack: ExitStack, run: Run, cluster: Cluster) -> Arena:
    arena = stack.enter_context(Arena(run, url=cluster.url, partitions=PARTITIONS))
    arena.fleet.start(WORKERS).wait_reading()
    return arena


def _served_by(cluster: Cluster, node: Server, parts: Sequence[Keys]) -> list[Keys]:
    return [keys for keys in parts if cluster.node_of(_slot(keys)) is node]


def _slot(keys: Keys) -> int:
    return slot(keys.partition or "")


def _split(arena: Arena, away: set[str | None], count: int) -> tuple[list[str], list[str]]:
    """New ids: those of some partitions, and all others."""
    halves: tuple[list[str], list[str]] = ([], [])
    for task_id in arena.ids(count):
        keys = arena.parts[partition_of(task_id, PARTITIONS)]
        halves[keys.partition not in away].append(task_id)
    return halves


def _move(run: Run, cluster: Cluster, keys: Keys) -> int:
    """Move a partition to another master; returns how many keys it has."""
    source = cluster.node_of(_slot(keys))
    target = run.chance.choice([node for node in cluster.masters() if node is not source])
    return cluster.migrate_slot(_slot(keys), target)


def _seconds_until_decided(cluster: Cluster, parts: Sequence[Keys]) -> float:
    """Until workers decide in each of some partitions what is submitted from now on."""
    begun = time.monotonic()
    with connect(cluster.url, role="checker") as client:
        before = {keys.decisions: client.xlen(keys.decisions) for keys in parts}
        wait_until(
            lambda: all(client.xlen(stream) > count for stream, count in before.items()),
            "decisions in every partition",
        )
    return time.monotonic() - begun


def _all_decided(cluster: Cluster, parts: Sequence[Keys], away: set[str | None]) -> bool:
    """Whether nothing waits or is worked on in the partitions that are there."""
    with connect(cluster.url, role="checker") as client:
        groups = [
            client.xinfo_groups(keys.tasks)[0] for keys in parts if keys.partition not in away
        ]
    return all(group["lag"] == 0 and group["pending"] == 0 for group in groups)


def _info(node: Server, section: str) -> Any:  # noqa: ANN401 - redis-py's
    with node.client() as client:
        return client.info(section) if section != "cluster" else client.cluster("INFO")


def _knows_of_failure(cluster: Cluster) -> bool:
    """Whether every living node counts the slots of one that is gone as failed."""
    return all(
        int(_info(node, "cluster")["cluster_slots_fail"]) for node in cluster.nodes if node.alive
    )


def _is_down(cluster: Cluster) -> bool:
    return all(
        _info(node, "cluster")["cluster_state"] == "fail" for node in cluster.nodes if node.alive
    )


def _errors(cluster: Cluster) -> dict[str, int]:
    """How often clients were sent elsewhere, or told to wait."""
    found = dict.fromkeys(("MOVED", "ASK", "TRYAGAIN"), 0)
    for node in cluster.nodes:
        stats = _info(node, "errorstats")
        for name in found:
            found[name] += int(stats.get(f"errorstat_{name}", {"count": 0})["count"])
    return found


def _late(recovery: float) -> list[str]:
    return [f"{recovery:.1f} s until everything was done"] if recovery > PROMISED else []


ROWS = (
    Row(
        "cluster-master-death",
        "what WAIT confirmed survives a master whose replica takes over",
        master_death,
    ),
    Row(
        "cluster-master-restart",
        "a master without a replica comes back with everything; meanwhile its tasks wait",
        master_restart,
    ),
    Row(
        "cluster-hole",
        "while a master is away, the partitions of the others flow",
        hole,
    ),
    Row(
        "cluster-down",
        "a cluster that serves all slots or none takes and acknowledges nothing",
        down,
    ),
    Row(
        "slot-migration",
        "a partition's slot moves back and forth under load",
        migration,
    ),
)
