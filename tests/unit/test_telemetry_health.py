from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager
from http.client import HTTPConnection, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from contracts.errors import FatalError
from telemetry.health import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Probe = tuple[int, dict[str, Any]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def served(health: Health) -> Iterator[Callable[[str], Probe]]:
    server = health.serve(0)
    host, port = server.server_address[:2]

    def ask(path: str) -> Probe:
        connection = HTTPConnection(str(host), port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body) if response.status != 404 else {}

    try:
        yield ask
    finally:
        server.shutdown()
        server.server_close()


def test_a_process_whose_loop_turns_lives() -> None:
    with served(Health(lambda: {"queue": True})) as ask:
        assert ask("/livez") == (200, {"ok": True, "alive": True})
        assert ask("/readyz") == (200, {"ok": True, "alive": True, "queue": True})


def test_a_stale_heartbeat_is_neither_alive_nor_ready() -> None:
    clock = Clock()
    health = Health(lambda: {"queue": True}, stale_seconds=30.0, clock=clock)
    with served(health) as ask:
        clock.now += 29.75
        assert ask("/livez")[0] == 200
        clock.now += 0.25
        assert ask("/livez") == (503, {"ok": False, "alive": False})
        assert ask("/readyz") == (503, {"ok": False, "alive": False, "queue": True})
        health.beat()
        assert ask("/livez")[0] == 200


def test_without_the_queue_a_process_lives_but_is_not_ready() -> None:
    connected = False
    with served(Health(lambda: {"queue": connected})) as ask:
        assert ask("/livez")[0] == 200
        assert ask("/readyz") == (503, {"ok": False, "alive": True, "queue": False})
        connected = True
        assert ask("/readyz")[0] == 200


def test_liveness_never_asks_for_the_status() -> None:
    def status() -> dict[str, bool]:
        asked.append(True)
        return {}

    asked: list[bool] = []
    with served(Health(status)) as ask:
        ask("/livez")
        assert not asked
        ask("/readyz")
    assert asked


def test_other_paths_are_not_found() -> None:
    with served(Health(dict)) as ask:
        assert ask("/")[0] == 404


def test_probes_say_nothing_on_the_error_stream(capfd: pytest.CaptureFixture[str]) -> None:
    with served(Health(dict)) as ask:
        ask("/livez")
        ask("/nowhere")
    assert capfd.readouterr() == ("", "")


def test_a_probe_that_fails_is_logged_like_everything_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def status() -> dict[str, bool]:
        raise ValueError("no status")

    with capture_logs() as lines, served(Health(status)) as ask:
        with pytest.raises(RemoteDisconnected):
            ask("/readyz")
        assert ask("/livez")[0] == 200
    (line,) = lines
    assert (line["event"], str(line["exc_info"])) == ("probe failed", "no status")
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FatalError, match=rf"^health: no port {port} on .*in use$"):
            Health(dict).serve(port)


def test_the_file_is_touched_at_most_once_a_second(tmp_path: Path) -> None:
    file = tmp_path / "new" / "alive"
    clock = Clock()
    health = Health(dict, file, clock=clock)

    def touched_by_a_beat() -> bool:
        os.utime(file, (1, 1))
        health.beat()
        return file.stat().st_mtime > 1

    health.beat()
    assert time.time() - file.stat().st_mtime < 60
    assert not touched_by_a_beat()
    clock.now += 0.75
    assert not touched_by_a_beat()
    clock.now += 0.25
    assert touched_by_a_beat()


def test_a_file_that_cannot_be_touched_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FatalError, match=r"^health: cannot touch .*/file/alive: "):
        Health(dict, tmp_path / "file" / "alive").beat()


def test_details_are_told_and_make_nothing_unready() -> None:
    with served(Health(lambda: {"queue": True}, details=lambda: {"index": {"age_s": 99}})) as ask:
        body = {"ok": True, "alive": True, "queue": True, "index": {"age_s": 99}}
        assert ask("/readyz") == (200, body)
        assert ask("/livez") == (200, {"ok": True, "alive": True})
