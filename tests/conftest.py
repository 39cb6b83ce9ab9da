"""Fixtures for everybody: real servers, from the embedded binary; without them tests fail."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from streams import _embedded_guard as guard
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


class Server:
    """A server of a test's own, without a guard: kill it and start it as you like.

    Its data survives `kill` and `stop` and is there again after `start`.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.socket = embedded.make_socket_path(directory)
        self.url = f"unix://{self.socket}"
        self._command = [*embedded.server_command(directory, self.socket), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers with its data loaded."""
        self._process = subprocess.Popen(
            self._command,
            # Safe here: tests start servers from the main thread, whose death it is tied to.
            preexec_fn=functools.partial(guard.die_with_parent, os.getpid()),  # noqa: PLW1509
        )
        deadline = time.monotonic() + 15
        while not guard.answers(str(self.socket)):
            assert self._process.poll() is None, f"server ended: {self._process.returncode}"
            assert time.monotonic() < deadline, "server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in good order, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=15)


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Factory of running servers: `make_server(directory=None, *options_of_the_server)`."""
    servers: list[Server] = []

    def make(directory: Path | None = None, *options: str) -> Server:
        server = Server(directory or tmp_path / f"server{len(servers)}", *options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.kill()
