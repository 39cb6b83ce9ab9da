"""Each fault of the proxy, seen from both of its sides."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chaos.proxy import Proxy
from chaos.resp import Requests
from contracts.errors import FatalError
from streams.connect import connect
from streams.scripts import source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT = 0.3  # seconds in which nothing may come
LONG = 30.0  # seconds in which what must come comes


@pytest.fixture
def proxy(redis_url: str, redis_client: redis.Redis) -> Iterator[Proxy]:
    """A proxy in front of the session's server, which is empty."""
    assert redis_client.dbsize() == 0
    with Proxy(Path(redis_url.removeprefix("unix://"))) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    """A client behind the proxy."""
    with connect(proxy.url, role="proxied") as client:
        yield client


@pytest.fixture
def pair() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """A raw proxy with one open connection: its client's end, and its server's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Proxy(listening.getsockname(), raw=True) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as near,
        listening.accept()[0] as far,
    ):
        near.settimeout(LONG)
        far.settimeout(LONG)
        yield proxy, near, far


def silent(end: socket.socket) -> bool:
    end.settimeout(SHORT)
    try:
        return not end.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        end.settimeout(LONG)


def received(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = end.recv(count - len(data))
        assert chunk, data
        data += chunk
    return data


def test_without_faults_everything_passes(proxy: Proxy, client: redis.Redis) -> None:
    payload = bytes(range(256)) * 10_000
    client.set("blob", payload)
    with client.pipeline(transaction=True) as pipeline:
        for number in range(500):
            pipeline.xadd("stream", {"number": str(number)})
        assert len(pipeline.execute()) == 500
    assert client.get("blob") == payload
    assert not proxy.injected


def test_each_chunk_is_delayed_in_both_directions(proxy: Proxy, client: redis.Redis) -> None:
    proxy.delay(0.1)
    started = time.monotonic()
    client.ping()
    assert time.monotonic() - started >= 0.2
    proxy.delay(0)
    assert proxy.injected["delayed"] == 2


def test_one_direction_can_be_delayed_alone(proxy: Proxy, client: redis.Redis) -> None:
    proxy.delay(0.1, "replies")
    client.ping()
    assert proxy.injected["delayed"] == 1


def test_a_pipeline_is_delayed_as_a_whole(proxy: Proxy, client: redis.Redis) -> None:
    proxy.delay(0.05)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(100):
            pipeline.set(f"key:{number}", number)
        pipeline.execute()
    assert proxy.injected["delayed"] < 10


def test_a_trickle_is_as_slow_as_told(pair: tuple[Proxy, socket.socket, socket.socket]) -> None:
    proxy, near, far = pair
    proxy.trickle(2_000, "requests")
    started = time.monotonic()
    near.sendall(b"x" * 1_000)
    assert received(far, 1_000) == b"x" * 1_000
    assert time.monotonic() - started >= 0.4
    far.sendall(b"y" * 1_000_000)
    assert received(near, 1_000_000) == b"y" * 1_000_000
    assert proxy.injected["trickled"] >= 9


def test_held_bytes_come_later_in_order(pair: tuple[Proxy, socket.socket, socket.socket]) -> None:
    proxy, near, far = pair
    proxy.hold("requests")
    near.sendall(b"one ")
    near.sendall(b"two")
    far.sendall(b"the other way is open")
    assert received(near, 21) == b"the other way is open"
    assert silent(far)
    proxy.release()
    assert received(far, 7) == b"one two"
    assert proxy.injected["held"] == 1


def test_an_end_is_held_like_bytes(pair: tuple[Proxy, socket.socket, socket.socket]) -> None:
    proxy, near, far = pair
    proxy.hold()
    near.sendall(b"last words")
    near.shutdown(socket.SHUT_WR)
    assert silent(far)
    proxy.release()
    assert received(far, 10) == b"last words"
    assert far.recv(1) == b""


def test_a_cut_resets_both_sides(pair: tuple[Proxy, socket.socket, socket.socket]) -> None:
    proxy, near, far = pair
    proxy.hold()
    near.sendall(b"lost")
    assert proxy.cut() == 1
    for end in (near, far):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    assert proxy.injected["cut"] == 1


def test_a_reset_by_one_side_reaches_the_other(
    pair: tuple[Proxy, socket.socket, socket.socket], eventually: Callable[..., None]
) -> None:
    proxy, near, far = pair
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    near.close()
    with pytest.raises(ConnectionResetError):
        far.recv(1)
    eventually(lambda: proxy.connections == 0)


@pytest.mark.parametrize("direction", ["requests", "replies"])
def test_half_a_connection_is_closed(
    pair: tuple[Proxy, socket.socket, socket.socket], direction: str
) -> None:
    proxy, near, far = pair
    sender, receiver = (near, far) if direction == "requests" else (far, near)
    proxy.half_close(direction)  # type: ignore[arg-type] # one of the two, see above
    assert receiver.recv(1) == b""
    sender.sendall(b"dropped")
    receiver.sendall(b"the other way is open")
    assert received(sender, 21) == b"the other way is open"
    assert proxy.injected["half-closed"] == 1


def test_nobody_is_let_in_while_refusing(proxy: Proxy, client: redis.Redis) -> None:
    proxy.refuse()
    assert client.ping()
    with redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 0)) as second:
        with pytest.raises(redis.ConnectionError):
            second.ping()
        proxy.heal()
        assert second.ping()
    assert proxy.injected["refused"] >= 1


def test_a_lost_request_is_not_carried_out(
    proxy: Proxy, client: redis.Redis, redis_client: redis.Redis
) -> None:
    proxy.lose_requests(2, "xadd")
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.xadd("tasks", {"task_id": "t-1"})
    assert redis_client.xlen("tasks") == 0
    client.xadd("tasks", {"task_id": "t-1"})
    assert redis_client.xlen("tasks") == 1
    assert proxy.injected == {"lost request": 2}


def test_a_request_whose_reply_is_lost_is_carried_out(
    proxy: Proxy, client: redis.Redis, redis_client: redis.Redis
) -> None:
    proxy.lose_replies(1, "XADD")
    assert client.set("other", 1)
    with pytest.raises(redis.ConnectionError):
        client.xadd("tasks", {"task_id": "t-1"})
    assert redis_client.xlen("tasks") == 1
    assert client.xadd("tasks", {"task_id": "t-1"})
    assert proxy.injected == {"lost reply": 1}


def test_the_reply_of_a_blocked_read_is_lost_when_it_comes(
    proxy: Proxy, client: redis.Redis, redis_client: redis.Redis
) -> None:
    proxy.lose_replies(1, "XREAD")
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(client.xread, {"tasks": "$"}, block=5_000)
        with pytest.raises(TimeoutError):
            reading.result(timeout=SHORT)
        redis_client.xadd("tasks", {"task_id": "t-1"})
        with pytest.raises(redis.ConnectionError):
            reading.result(timeout=LONG)


def test_one_script_can_be_singled_out(proxy: Proxy, client: redis.Redis) -> None:
    client.script_flush()
    _, settle = source("settle")
    _, leave = source("leave")
    proxy.answer(b"BUSY a script is running", 1, f"EVALSHA {settle}")
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha(leave, 0)
    with pytest.raises(redis.ResponseError, match="BUSY"):
        client.evalsha(settle, 0)


def test_an_error_comes_in_its_turn_within_a_pipeline(
    proxy: Proxy, client: redis.Redis, redis_client: redis.Redis
) -> None:
    proxy.answer(b"READONLY You can't write against a read only replica.", 1, "XADD")
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set("a", 1).xadd("tasks", {"task_id": "t-1"}).get("a")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True
    assert isinstance(replies[1], redis.ReadOnlyError)
    assert replies[2] == b"1"
    assert redis_client.xlen("tasks") == 0
    assert proxy.injected == {"answered": 1}


def test_healing_ends_every_fault(proxy: Proxy, client: redis.Redis) -> None:
    proxy.delay(60)
    proxy.trickle(1)
    proxy.hold()
    proxy.refuse()
    proxy.lose_requests(9)
    proxy.heal()
    assert client.ping()


def test_a_new_upstream_counts_for_new_connections(
    proxy: Proxy, client: redis.Redis, make_server: Callable[..., object]
) -> None:
    client.set("old", 1)
    other = make_server()
    proxy.upstream = other.socket  # type: ignore[attr-defined] # tests/conftest.py's Server
    assert client.get("old") == b"1"
    proxy.cut()
    assert client.get("old") is None


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_requests_are_found_in_chunks_of_any_size(size: int) -> None:
    sent = [
        b"*2\r\n$4\r\nxadd\r\n$5\r\nta\r\ns\r\n",
        b"PING\r\n",
        b"*3\r\n$7\r\nEVALSHA\r\n$2\r\naB\r\n$0\r\n\r\n",
    ]
    stream, requests = b"".join(sent), Requests()
    found = [
        request
        for start in range(0, len(stream), size)
        for request in requests.feed(stream[start : start + size])
    ]
    assert [request.raw for request in found] == sent
    assert [request.words for request in found] == [
        ("XADD", "TA\r\nS"),
        ("PING",),
        ("EVALSHA", "AB"),
    ]
    assert found[2].is_one_of(("EVALSHA ab",))
    assert not found[2].is_one_of(("EVAL", "EVALSHA a"))


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(FatalError, match="no request to Redis"):
        Requests().feed(b"*x\r\n")
