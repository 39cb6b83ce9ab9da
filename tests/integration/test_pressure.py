"""When memory is short, reading stops; where waiting would free nothing, it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from structlog.testing import capture_logs

from streams.keys import Keys
from streams.pressure import Pressure, memory_share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.servers import Server

QUEUE = Keys().master("dev")


@pytest.fixture
def client(make_server: Callable[..., Server]) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(make_server().socket)) as client:
        client.setrange("filler", 20_000_000, "x")
        yield client


def fill_to(client: redis.Redis, share: float) -> None:
    """Make what is used so much of `maxmemory`."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / share))


def test_memory_without_a_limit_is_never_short(client: redis.Redis) -> None:
    assert memory_share(client) == 0
    pressure = Pressure(client, [QUEUE])
    pressure.look()
    assert pressure.may_read()


def test_the_share_is_that_at_which_writes_are_refused(client: redis.Redis) -> None:
    fill_to(client, 0.9)
    assert memory_share(client) == pytest.approx(0.9, abs=0.02)
    client.config_set("maxmemory", 1)
    assert memory_share(client) > 1


def test_reading_stops_and_goes_on_with_a_distance_and_says_each_once(client: redis.Redis) -> None:
    client.xadd(QUEUE, {"task_id": "t"})
    pressure = Pressure(client, [QUEUE])
    with capture_logs() as logs:
        for share, may_read in (
            (0.78, True),
            (0.83, False),
            (0.90, False),
            (0.78, False),
            (0.72, True),
            (0.78, True),
            (0.83, False),
        ):
            fill_to(client, share)
            pressure.look()
            assert pressure.may_read() == may_read, share
    assert [(line["log_level"], line["event"].split(":")[0]) for line in logs] == [
        ("warning", "reading paused"),
        ("info", "reading goes on"),
        ("warning", "reading paused"),
    ]
    assert logs[0]["event"] == "reading paused: memory at 83 % of maxmemory"
    assert pressure.detail == "paused: memory at 83 % of maxmemory"


def test_where_no_master_has_work_reading_goes_on(client: redis.Redis) -> None:
    """Tasks alone filled the memory: not to read would be to wait for ever."""
    client.xgroup_create(QUEUE, "dev", id="0", mkstream=True)
    pressure = Pressure(client, [QUEUE, "missing"])
    fill_to(client, 0.95)
    pressure.look()
    assert pressure.may_read()
    assert pressure.stuck
    entry = client.xadd(QUEUE, {"task_id": "t"})
    pressure.look()
    assert not pressure.may_read()
    assert not pressure.stuck
    client.xreadgroup("dev", "m", {QUEUE: ">"})
    pressure.look()
    assert not pressure.may_read()
    client.xack(QUEUE, "dev", entry)
    pressure.look()
    assert pressure.may_read()


def test_a_server_that_cannot_be_asked_changes_nothing(make_server: Callable[..., Server]) -> None:
    server = make_server()
    gone = redis.Redis(unix_socket_path=str(server.socket))
    gone.setrange("filler", 20_000_000, "x")
    gone.xadd(QUEUE, {"task_id": "t"})
    fill_to(gone, 0.9)
    pressure = Pressure(gone, [QUEUE])
    pressure.look()
    server.kill()
    pressure.look()
    assert not pressure.may_read()
    gone.close()


def test_it_watches_by_itself(client: redis.Redis, eventually: Callable[..., None]) -> None:
    client.xadd(QUEUE, {"task_id": "t"})
    pressure = Pressure(client, [QUEUE])
    pressure.start()
    try:
        fill_to(client, 0.9)
        eventually(lambda: pressure.paused)
        fill_to(client, 0.5)
        eventually(lambda: not pressure.paused)
    finally:
        pressure.stop()
