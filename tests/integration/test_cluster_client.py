"""What redis-py's cluster client is spared by `streams.cluster`, on a real cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis
from redis.exceptions import RedisClusterException

from chaos.cluster import SLOTS, Cluster
from chaos.servers import Server, free_port, wait_until
from streams.connect import connect
from streams.consumer import Consumer
from streams.keys import WORKERS
from streams.partitions import layout, slot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = layout("", 8)
TIMEOUT = 2.0  # seconds without a byte from a node


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[redis.Redis]:
    with connect(cluster.url, socket_timeout=TIMEOUT) as connected:
        yield connected


def consumers(client: redis.Redis) -> list[Consumer]:
    made = [Consumer(client, keys.task_streams, WORKERS, "w") for keys in PARTS]
    for each in made:
        each.join()
    return made


def calls(cluster: Cluster, command: str) -> int:
    total = 0
    for node in cluster.nodes:
        with node.client() as own:
            total += own.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return total


def test_nobody_is_asked_where_keys_stand(cluster: Cluster, client: redis.Redis) -> None:
    client.xadd(PARTS[3].tasks, {"task_id": "t"})
    entries = [entry for each in consumers(client) for entry in each.read(10, 1)]
    assert [entry.stream for entry in entries] == [PARTS[3].tasks]
    assert client.xread({PARTS[3].tasks: "0"}, count=1)
    assert calls(cluster, "xreadgroup") >= 8
    assert calls(cluster, "command|getkeys") == 0


def test_streams_of_several_slots_are_refused(client: redis.Redis) -> None:
    with pytest.raises(RedisClusterException, match="2 slots"):
        client.xread({PARTS[0].tasks: "0", PARTS[1].tasks: "0"})


def test_a_node_that_hangs_holds_up_its_own_partitions_alone(
    cluster: Cluster, client: redis.Redis
) -> None:
    everybody = consumers(client)
    served_by = [cluster.node_of(slot(keys.partition or "")) for keys in PARTS]
    asked_by_default = client.get_default_node()  # type: ignore[attr-defined] # of a cluster's client
    frozen = next(node for node in cluster.nodes if node.port == asked_by_default.port)
    frozen.freeze()
    try:
        begun = time.monotonic()
        for each, node in zip(everybody, served_by, strict=True):
            if node is not frozen:
                each.read(1, 0)
        assert time.monotonic() - begun < TIMEOUT
        mine = next(each for each, node in zip(everybody, served_by, strict=True) if node is frozen)
        with pytest.raises(redis.TimeoutError):
            mine.read(1, 0)
    finally:
        frozen.thaw()


def test_one_may_connect_while_a_master_is_away(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.kill()
        with connect(cluster.url) as client:
            assert client.time()
        node.start()


def test_a_slot_may_move_to_a_node_nobody_has_heard_of(
    cluster: Cluster, client: redis.Redis, tmp_path: Path
) -> None:
    client.xadd(PARTS[0].tasks, {"task_id": "before"})
    bus = str(free_port())
    options = ("--cluster-enabled", "yes", "--cluster-port", bus)
    with Server(tmp_path / "new", *options, port=free_port()) as new:
        cluster.nodes.append(new)
        with cluster.nodes[0].client() as known:
            known.execute_command("CLUSTER MEET", "127.0.0.1", new.port, bus)
        wait_until(lambda: slots_known(new) == SLOTS, "the new node knows who serves what")
        cluster.wait_ok()

        added = []

        def add() -> None:
            added.append(client.xadd(PARTS[0].task_streams[0], {"task_id": "meanwhile"}))

        cluster.migrate_slot(slot(PARTS[0].partition or ""), new, between=add)
        assert client.xlen(PARTS[0].task_streams[0]) == len(added) > 1
        assert client.xlen(PARTS[0].tasks) == 1
        assert cluster.node_of(slot(PARTS[0].partition or "")) is new


def slots_known(node: Server) -> int:
    with node.client() as own:
        return int(own.execute_command("CLUSTER INFO")["cluster_slots_ok"])
