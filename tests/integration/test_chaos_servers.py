"""The servers that the fault suite does harm to are real, and so is the harm."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis

from chaos.binaries import binaries
from chaos.cluster import Cluster
from chaos.proxy import Proxy
from chaos.sentinels import Sentinels
from chaos.servers import Server, free_port
from contracts.errors import FatalError
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=binaries().values(), ids=binaries().keys())
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A running server of each kind found."""
    with Server(tmp_path, binary=request.param, port=free_port()) as server:
        yield server


def test_the_embedded_server_is_always_among_those_found() -> None:
    assert "valkey" in binaries()


def test_data_survives_a_kill(server: Server) -> None:
    with server.client() as client:
        client.set("kept", 1)
    server.kill()
    assert not server.alive
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    server.start()
    with connect(f"unix://{server.socket}") as client:
        assert client.get("kept") == b"1"
        policy = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert policy == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }


def test_a_frozen_server_answers_nobody_and_ends_when_told(server: Server) -> None:
    with connect(server.url, socket_timeout=0.3) as client:
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()
        assert client.ping()
    server.freeze()
    server.stop()
    assert not server.alive


def test_options_and_environment_hold_from_the_next_start(server: Server) -> None:
    server.kill()
    server.options += ["--appendfsync", "always"]
    server.env["TZ"] = "CHAOS+24"  # a zone a day behind
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%d %b %Y}"
    assert yesterday not in server.log.read_text()
    server.start()
    with server.client() as client:
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
    assert yesterday in server.log.read_text()


def test_why_a_server_does_not_start_is_told(tmp_path: Path) -> None:
    server = Server(tmp_path)
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(FatalError, match="appendonlydir"):
        server.start()
    assert not server.alive


def test_a_primary_that_dies_has_a_successor(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    with Sentinels(tmp_path) as sentinels, connect(sentinels.url) as client:
        client.set("kept", 1)
        assert client.wait(1, 5_000) == 1
        old = sentinels.primary
        old.kill()
        new = sentinels.wait_for_failover(old)
        assert new is not old
        eventually(lambda: value_or_none(client) == b"1")


def test_what_a_proxy_holds_back_is_lost_in_a_failover(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    port, of_replica = free_port(), free_port()
    with (
        Proxy(("127.0.0.1", port), raw=True) as proxy,
        Sentinels(tmp_path, ports=(port, of_replica), through=(proxy.port,)) as sentinels,
        connect(sentinels.url) as client,
    ):
        client.set("kept", "confirmed")
        assert client.wait(1, 5_000) == 1
        proxy.hold("replies")
        client.set("kept", "unconfirmed")
        assert client.wait(1, 300) == 0
        old = sentinels.primary
        old.kill()
        sentinels.wait_for_failover(old)
        eventually(lambda: value_or_none(client) == b"confirmed")


def value_or_none(client: redis.Redis) -> object:
    try:
        return client.get("kept")
    except redis.RedisError:
        return None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, replicas=1) as cluster:
        yield cluster


def test_a_slot_moves_while_clients_go_on(cluster: Cluster) -> None:
    with connect(cluster.url) as client:
        for number in range(20):
            client.set(f"{{tag}}:{number}", number)
        slot = int(client.keyslot("{tag}"))
        source = cluster.node_of(slot)
        target = next(node for node in cluster.masters() if node is not source)
        read: list[object] = []
        moved = cluster.migrate_slot(
            slot, target, lambda: read.append(client.get(f"{{tag}}:{len(read) % 20}"))
        )
        assert moved == 20
        assert read == [str(number % 20).encode() for number in range(21)]
        assert cluster.node_of(slot) is target
        cluster.wait_ok()


def test_a_replica_takes_over_from_a_dead_master(
    cluster: Cluster, eventually: Callable[..., None]
) -> None:
    before = cluster.masters()
    with connect(cluster.url) as client:
        client.set("kept", 1)
        lost = cluster.kill_master(int(client.keyslot("kept")) * 3 // 16_384)
        eventually(lambda: len(cluster.masters()) == 3, within=30)
        eventually(lambda: value_or_none(client) == b"1", within=30)
    lost.start()
    cluster.wait_ok()
    assert set(cluster.masters()) - set(before) == {
        node for node in cluster.nodes[3:] if node in cluster.masters()
    }
