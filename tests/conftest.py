"""Fixtures for everybody: real servers, from the embedded binary; without them tests fail."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from chaos.servers import Server
from streams import embedded
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one server for the whole session; it goes when the session ends."""
    data_dir = tmp_path_factory.mktemp("redis")
    yield f"unix://{embedded.ensure_running(data_dir)}"
    embedded.release(data_dir)


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the session's server, with nothing in it."""
    with connect(redis_url, role="test") as client:
        client.flushall()
        yield client


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until a condition holds; fail if it does not within some seconds."""

    def wait(condition: Callable[[], object], within: float = 15.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"not within {within} s: {condition}"
            time.sleep(0.01)

    return wait


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Factory of running servers: `make_server(directory=None, *options_of_the_server)`."""
    servers: list[Server] = []

    def make(directory: Path | None = None, *options: str) -> Server:
        server = Server(directory or tmp_path / f"server{len(servers)}", *options)
        servers.append(server)
        return stack.enter_context(server)

    with ExitStack() as stack:
        yield make
