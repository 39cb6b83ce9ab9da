"""Faults of a cluster: masters that die, slots that move, and a million tasks all the same."""

from __future__ import annotations

import operator
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from chaos.arena import Arena
from chaos.cluster import Cluster
from chaos.confirmed import Confirmed
from chaos.matrix import Result, Row
from chaos.servers import Server, wait_until
from contracts.messages import Task
from streams.connect import SOCKET_TIMEOUT, connect
from streams.errors import SERVER_TROUBLE
from streams.partitions import partition_of, slot
from streams.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.matrix import Run
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
        return _judged(arena, kills, recovery, note=note)


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
        return _judged(arena, kills, recovery)


def hole(run: Run) -> Result:
    """Keep a master without a replica away; the slots of the others are served."""
    return _away(run, Server.kill, Server.start)


def stall(run: Run) -> Result:
    """Let a master without a replica hang, its connections open; the others are served."""
    return _away(run, Server.freeze, Server.thaw)


def _away(
    run: Run, take_away: Callable[[Server], object], bring_back: Callable[[Server], object]
) -> Result:
    count = run.scale(500, 5_000)
    with ExitStack() as stack:
        options = ("--cluster-require-full-coverage", "no", "--appendfsync", "always")
        cluster = stack.enter_context(Cluster(run.directory / "cluster", *options))
        arena = _arena(stack, run, cluster)
        gone = run.chance.choice(cluster.masters())
        others = [node for node in cluster.nodes if node is not gone]
        away = _served_by(cluster, gone, arena.parts)
        there = [keys for keys in arena.parts if keys not in away]
        _begin_work(arena, 2 * count)
        take_away(gone)
        wait_until(lambda: all(map(_misses_slots, others)), "the others notice")
        begun = time.monotonic()
        _submit(arena, there, count)
        wait_until(lambda: _idle(arena, there), "the others' tasks decided")
        flowed = time.monotonic() - begun
        if not gone.alive:
            arena.fleet.start().wait_reading()
        bring_back(gone)
        cluster.wait_ok()
        _submit(arena, away, count)
        recovery = arena.drain()
        # A worker that waits for an answer about a task that may be deadly reads nothing else.
        slow = [f"the others took {flowed:.1f} s"] if flowed > SOCKET_TIMEOUT + PROMISED else []
        note = f"{len(away)} of {PARTITIONS} partitions away, the others done in {flowed:.1f} s"
        return _judged(arena, 1, recovery, *slow, note=note)


def down(run: Run) -> Result:
    """Keep a master without a replica away, where the cluster serves all slots or none."""
    with ExitStack() as stack:
        options = ("--appendfsync", "always")
        cluster = stack.enter_context(Cluster(run.directory / "cluster", *options))
        arena = _arena(stack, run, cluster)
        gone = run.chance.choice(cluster.masters())
        _begin_work(arena, run.scale(2_000, 20_000))
        gone.kill()
        others = [node for node in cluster.nodes if node is not gone]
        wait_until(lambda: all(map(_is_down, others)), "the cluster is down")
        arena.producer(once=True).submit(refused := arena.ids(100))
        accepted = [each for each in refused if arena.history.seen[each] == "ok"]
        gone.start()
        cluster.wait_ok()
        recovery = arena.drain()
        wrong = [f"{len(accepted)} tasks accepted by a cluster that is down"] if accepted else []
        return _judged(arena, 1, recovery, *wrong)


def migration(run: Run) -> Result:
    """Move the slot of a partition from master to master, under load and with idle readers."""
    moves = run.scale(3, 8)
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
        return _judged(arena, moves + 1, recovery, *missed, note=note)


def _arena(stack: ExitStack, run: Run, cluster: Cluster) -> Arena:
    arena = stack.enter_context(Arena(run, url=cluster.url, partitions=PARTITIONS))
    arena.fleet.start(WORKERS).wait_reading()
    return arena


def _served_by(cluster: Cluster, node: Server, parts: Sequence[Keys]) -> list[Keys]:
    return [keys for keys in parts if cluster.node_of(_slot(keys)) is node]


def _slot(keys: Keys) -> int:
    return slot(keys.partition or "")


def _begin_work(arena: Arena, count: int) -> None:
    """Have workers in the middle of so many tasks."""
    for number in arena.fleet.alive:
        arena.fleet.freeze(number)
    arena.submit(count)
    for number in arena.fleet.alive:
        arena.fleet.thaw(number)
    arena.wait_finished(1)


def _submit(arena: Arena, parts: Sequence[Keys], count: int) -> None:
    """Submit tasks that belong to some of the partitions, each until it is confirmed."""
    chosen = [
        Task(task_id=task_id, description="fix the login bug")
        for task_id in arena.ids(count)
        if arena.parts[partition_of(task_id, PARTITIONS)] in parts
    ]
    for each in Producer(arena.client, arena.parts).submit_surely(chosen):
        arena.history.note(each.verdict, [each.task_id])


def _move(run: Run, cluster: Cluster, keys: Keys) -> int:
    """Move a partition to another master; returns how many keys it has."""
    source = cluster.node_of(_slot(keys))
    target = run.chance.choice([node for node in cluster.masters() if node is not source])
    return cluster.migrate_slot(_slot(keys), target)


def _seconds_until_decided(cluster: Cluster, parts: Sequence[Keys]) -> float:
    """Until workers decide in each of some partitions what is submitted from now on."""
    begun, counts = time.monotonic(), []
    with connect(cluster.url, role="checker") as client:

        def have_grown() -> bool:
            with suppress(*SERVER_TROUBLE):  # who serves what has to get about
                counts.append([client.xlen(keys.decisions) for keys in parts])
            return bool(counts) and all(map(operator.gt, counts[-1], counts[0]))

        wait_until(have_grown, "decisions in every partition")
    return time.monotonic() - begun


def _idle(arena: Arena, parts: Sequence[Keys]) -> bool:
    """Whether nothing waits or is worked on in some partitions."""
    groups = [arena.client.xinfo_groups(keys.tasks)[0] for keys in parts]
    return all(group["lag"] == 0 and group["pending"] == 0 for group in groups)


def _info(node: Server, command: str, *args: str) -> Any:  # noqa: ANN401 - redis-py's
    with node.client() as client:
        return client.execute_command(command, *args)


def _misses_slots(node: Server) -> bool:
    """Whether a node takes slots of another one for failed."""
    return int(_info(node, "CLUSTER INFO")["cluster_slots_fail"]) > 0


def _is_down(node: Server) -> bool:
    return bool(_info(node, "CLUSTER INFO")["cluster_state"] == "fail")


def _errors(cluster: Cluster) -> dict[str, int]:
    """How often clients were sent elsewhere, or told to wait."""
    found = dict.fromkeys(("MOVED", "ASK", "TRYAGAIN"), 0)
    for node in cluster.nodes:
        stats = _info(node, "INFO", "errorstats")
        for name in found:
            found[name] += int(stats.get(f"errorstat_{name}", {"count": 0})["count"])
    return found


def _judged(arena: Arena, runs: int, recovery: float, *wrong: str, note: str = "") -> Result:
    """Judge what came out; no fault of a server is a reason for a worker to end, or to be late."""
    late = [f"{recovery:.1f} s until everything was done"] if recovery > PROMISED else []
    ended = [f"worker {n} ended" for n, each in enumerate(arena.fleet.processes) if each.poll()]
    return arena.result(runs, recovery, *wrong, *late, *ended, note=note)


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
        "cluster-stall",
        "while a master hangs, the partitions of the others flow",
        stall,
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
