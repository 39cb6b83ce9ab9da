from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis

from contracts.errors import FatalError
from streams._waiting import attempts
from streams.connect import FOREVER, MAX_BLOCK_MS, SOCKET_TIMEOUT, connect
from streams.embedded import server_command
from streams.errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.servers import Server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_connection_says_whose_it_is(redis_client: redis.Redis) -> None:
    assert str(redis_client.client_getname()).startswith("cortex:test:")


def test_replies_are_bytes_and_streams_dictionaries(redis_client: redis.Redis) -> None:
    entry = redis_client.xadd("tasks", {"task_id": "t-1"})
    redis_client.xgroup_create("tasks", "workers", "0")
    read = redis_client.xreadgroup("workers", "w", {"tasks": ">"})
    assert read == {b"tasks": [(entry, {b"task_id": b"t-1"})]}
    assert redis_client.xreadgroup("workers", "w", {"tasks": ">"}) == {}


def test_the_environment_names_the_server(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_client.set("here", 1)
    monkeypatch.setenv("REDIS_URL", redis_url)
    with connect() as client:
        assert client.get("here") == b"1"


def test_an_empty_environment_means_the_embedded_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.chdir(tmp_path)
    with connect() as client:
        assert client.ping()
    assert (tmp_path / ".cortex" / "redis.sock").is_socket()


def test_the_longest_block_ends_before_the_connection_is_given_up() -> None:
    assert MAX_BLOCK_MS / 1000 <= SOCKET_TIMEOUT / 2


def test_nothing_there_is_one_line_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.connect.PATIENCE", 0.2)
    port = free_port()
    with pytest.raises(FatalError, match=r"no Redis at redis://me:\*\*\*@.*refused") as caught:
        connect(f"redis://me:secret@127.0.0.1:{port}")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_comes_up_meanwhile_is_waited_for(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    server.stop()
    with ThreadPoolExecutor() as pool:
        connecting = pool.submit(connect, server.url)
        with pytest.raises(TimeoutError):
            connecting.result(timeout=0.3)
        server.start()
        with connecting.result() as client:
            assert client.ping()


def test_who_runs_on_waits_for_a_server_longer_than_others_do(
    make_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    eventually: Callable[..., None],
) -> None:
    for patience in ("PATIENCE", "LOADING_PATIENCE"):
        monkeypatch.setattr(f"streams.connect.{patience}", 0.1)
    monkeypatch.setattr("streams._waiting.SILENCE", 0.2)
    server = make_server()
    server.stop()
    with ThreadPoolExecutor() as pool:
        connecting = pool.submit(connect, server.url, patience=FOREVER)
        eventually(lambda: "No such file" in capsys.readouterr().err)
        server.start()
        with connecting.result() as client:
            assert client.ping()


def test_what_is_said_while_waiting_becomes_rarer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streams._waiting.SILENCE", 0.05)
    monkeypatch.setattr("streams._waiting.LONGEST", 0.01)
    for _ in attempts(lambda: "Godot", 0.7):
        pass
    assert capsys.readouterr().err.count("waiting for Godot") in (2, 3)


def test_no_patience_helps_against_a_wrong_password(make_server: Callable[..., Server]) -> None:
    server = make_server(None, "--requirepass", "right")
    with pytest.raises(FatalError, match="no Redis at"):
        connect(f"{server.url}?password=wrong", patience=FOREVER)


def test_loading_is_waited_out(
    make_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("streams.connect.PATIENCE", 1.0)
    monkeypatch.setattr("streams._waiting.SILENCE", 0.1)
    # 0.5 ms for each of 4,000 keys; in between it answers that it is loading.
    server = make_server(None, "--key-load-delay", "500", "--appendfsync", "always")
    with connect(server.url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(4000):
            pipeline.set(f"key:{number}", 1)
        pipeline.execute()
    server.kill()
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(connect, server.url, socket_timeout=5)
        server.start()
        with starting.result() as client:
            assert client.dbsize() == 4000
    assert "waiting for unix://" in capsys.readouterr().err


def test_a_wrong_password_is_told_at_once(make_server: Callable[..., Server]) -> None:
    server = make_server(None, "--requirepass", "right")
    with connect(f"{server.url}?password=right") as client:
        assert client.ping()
    started = time.monotonic()
    for url in (server.url, f"{server.url}?password=wrong"):
        with pytest.raises(FatalError) as caught:
            connect(url)
        assert "\n" not in str(caught.value)
        assert "password=wrong" not in str(caught.value)
    assert time.monotonic() - started < 2


def test_a_restarted_server_is_found_again(make_server: Callable[..., Server]) -> None:
    server = make_server()
    with connect(server.url) as client:
        client.set("kept", 1)
        server.kill()
        with pytest.raises(redis.ConnectionError) as caught:
            client.get("kept")
        assert is_transient(caught.value)
        server.start()
        assert client.get("kept") == b"1"


def test_a_write_whose_reply_is_lost_is_not_repeated(make_server: Callable[..., Server]) -> None:
    server = make_server(None, "--enable-debug-command", "yes")
    with connect(server.url, socket_timeout=0.2) as client, client.pipeline() as transaction:
        transaction.xadd("tasks", {"task_id": "t-1"}).execute_command("DEBUG", "SLEEP", "0.6")
        with pytest.raises(redis.TimeoutError) as caught:
            transaction.execute()
        assert is_transient(caught.value)
    with connect(server.url) as client:
        assert client.xlen("tasks") == 1


def test_a_server_that_hangs_is_given_up(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.connect.PATIENCE", 0.2)
    with pytest.raises(FatalError, match="Timeout"):
        connect(f"redis://127.0.0.1:{silent_port}", socket_timeout=0.3)


@pytest.mark.parametrize("command", ["SET", "EVAL"])
def test_refusals_of_a_full_server_pass(make_server: Callable[..., Server], command: str) -> None:
    words = {
        "SET": ("SET", "key", "1"),
        "EVAL": ("EVAL", "#!lua\nreturn redis.call('XADD', KEYS[1], '*', 'a', '1')", "1", "s"),
    }
    server = make_server(None, "--maxmemory", "1")  # byte
    with connect(server.url) as client:
        with pytest.raises(redis.RedisError) as caught:
            client.execute_command(*words[command])
        assert is_transient(caught.value)


def test_sentinel_leads_to_the_primary_and_to_the_next_one(
    make_server: Callable[..., Server],
    tmp_path: Path,
    eventually: Callable[..., None],
    request: pytest.FixtureRequest,
) -> None:
    primary_port, replica_port, sentinel_port = free_port(), free_port(), free_port()
    access = ("--bind", "127.0.0.1", "--requirepass", "data", "--primaryauth", "data")
    primary = make_server(None, "--port", str(primary_port), *access)
    replicaof = ("--replicaof", "127.0.0.1", str(primary_port))
    make_server(None, "--port", str(replica_port), *access, *replicaof)
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {sentinel_port}\nbind 127.0.0.1\nrequirepass watch\n"
        f"sentinel monitor main 127.0.0.1 {primary_port} 1\nsentinel auth-pass main data\n"
        "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
    )
    binary = server_command(tmp_path, tmp_path)[0]
    sentinel = subprocess.Popen([binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    request.addfinalizer(sentinel.wait)
    request.addfinalizer(sentinel.kill)
    hosts = f"127.0.0.1:{sentinel_port},127.0.0.1:{free_port()}"
    url = f"redis+sentinel://:data@{hosts}/main/0?sentinel_password=watch"
    with connect(url, role="test") as client:
        client.set("kept", 1)
        eventually(lambda: client.wait(1, 1000))
        primary.kill()
        eventually(lambda: survives(client), within=30)
        assert client.get("kept") == b"1"
    with pytest.raises(
        FatalError, match=r"No master found for 'other' : .*:ConnectionError$"
    ) as caught:
        connect(url.replace("/main", "/other"))
    assert len(str(caught.value)) < 250


def survives(client: redis.Redis) -> bool:
    try:
        return bool(client.set("after", 1))
    except redis.RedisError as error:
        if not is_transient(error):
            raise
        return False


def test_cluster_takes_the_same_commands(
    make_server: Callable[..., Server], eventually: Callable[..., None]
) -> None:
    ports, buses = [free_port(), free_port()], [free_port(), free_port()]
    cluster = ("--bind", "127.0.0.1", "--cluster-enabled", "yes")
    nodes = [
        make_server(None, "--port", str(port), "--cluster-port", str(bus), *cluster)
        for port, bus in zip(ports, buses, strict=True)
    ]
    with connect(nodes[0].url) as first, connect(nodes[1].url) as second:
        first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        second.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        first.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1], buses[1])
        for node in (first, second):
            eventually(
                lambda node=node: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok"
            )
    with connect(f"redis+cluster://127.0.0.1:{ports[0]}") as client:
        for partition in range(6):
            entry = client.xadd(f"tasks:{{{partition}}}", {"task_id": "t-1"})
            read = client.xread({f"tasks:{{{partition}}}": "0"})
            assert read == {f"tasks:{{{partition}}}".encode(): [(entry, {b"task_id": b"t-1"})]}
        for node in nodes:
            node.kill()
        with pytest.raises((redis.RedisError, redis.exceptions.RedisClusterException)) as caught:
            client.xadd("tasks:{0}", {"task_id": "t-1"})
        assert is_transient(caught.value)
