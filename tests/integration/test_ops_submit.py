from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Self

from cortex_program import cortex, succeed

from contracts.parse import parse_task

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


def test_one_text(redis_client: Redis, redis_url: str) -> None:
    args = ("Fix it", "--id", "a#1", "--metadata", '{"repo": "x"}', "--priority", "high")
    assert succeed(redis_url, "submit", *args) == "a#1\n"
    ((_id, fields),) = redis_client.xrange("tasks:high")
    task = parse_task(fields)
    assert (task.task_id, task.description, bytes(task.metadata or b"")) == (
        "a#1",
        "Fix it",
        b'{"repo": "x"}',
    )


def test_a_file_in_order_with_ids_and_priorities(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    lines: list[dict[str, object]] = [
        {"task_id": f"t-{number}", "description": f"do {number}"} for number in range(1_203)
    ]
    lines[7] = {"description": "no id", "priority": "low", "metadata": {"a": [1, "\u2028"]}}
    lines[8]["metadata"] = None
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n")

    printed = json.loads(succeed(redis_url, "submit", "--file", str(file), "--json"))

    assert printed["submitted"] == len(lines)
    stored = [parse_task(fields) for _id, fields in redis_client.xrange("tasks")]
    assert [task.task_id for task in stored] == [
        line["task_id"] for line in lines if "task_id" in line
    ]
    ((_id, fields),) = redis_client.xrange("tasks:low")
    assert parse_task(fields).task_id == printed["task_ids"][7]
    assert json.loads(fields[b"metadata"]) == {"a": [1, "\u2028"]}


def test_one_malformed_line_and_nothing_is_sent(redis_client: Redis, redis_url: str) -> None:
    lines = '{"description": "fine"}\n\n{"description": "x", "task_id": "with space"}\n'
    done = cortex(redis_url, "submit", "--file", "-", stdin=lines)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("cortex: standard input, line 3: invalid_task_id")
    assert done.stderr.count("\n") == 1
    for bad in ('{"descripton": "typo"}', "nonsense", '{"description": ""}', "[1]", "\x00"):
        done = cortex(redis_url, "submit", "--file", "-", stdin=bad)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "line 1" in done.stderr
    assert not redis_client.exists("tasks")


def test_wrong_usage_and_a_missing_file(redis_url: str) -> None:
    assert cortex(redis_url, "submit").returncode == 2
    assert cortex(redis_url, "submit", "x", "--file", "y").returncode == 2
    assert cortex(redis_url, "submit", "--file", "y", "--id", "z").returncode == 2
    missing = cortex(redis_url, "submit", "--file", "/nowhere.jsonl")
    assert (missing.returncode, missing.stderr) == (
        1,
        "cortex: cannot read /nowhere.jsonl: No such file or directory\n",
    )


def test_no_server_is_one_line_without_the_password() -> None:
    done = cortex("redis://user:secret@127.0.0.1:1", "submit", "x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("cortex: no Redis at redis://user:***@")
    assert "secret" not in done.stderr


def test_a_lost_reply_names_the_ids_and_sends_nothing_again(
    redis_client: Redis, redis_url: str
) -> None:
    """A proxy passes the tasks on and cuts the connection before their replies."""
    with Proxy(redis_url.removeprefix("unix://"), cut_after=b"XADD") as proxy:
        done = cortex(f"redis://127.0.0.1:{proxy.port}", "submit", "x", "--id", "t-1")
    assert done.returncode == 1
    assert "unknown for 1" in done.stderr
    assert done.stderr.endswith("doubles nothing: t-1\n")
    assert redis_client.xlen("tasks") == 1


def test_a_refusal_says_what_is_in_the_queue_and_what_is_not(
    redis_client: Redis, redis_url: str
) -> None:
    redis_client.set("tasks", "no stream")
    lines = '{"description": "x", "task_id": "a", "priority": "high"}\n'
    lines += '{"description": "x", "task_id": "b"}\n'
    lines += '{"description": "x", "task_id": "c", "priority": "low"}\n'
    done = cortex(redis_url, "submit", "--file", "-", "--json", stdin=lines)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "submitted": 1,
        "task_ids": ["a"],
        "failed": ["b", "c"],
        "unknown": [],
    }
    assert "1 tasks submitted, not submitted 2 (WRONGTYPE" in done.stderr
    assert done.stderr.endswith("doubles nothing: b c\n")
    assert not redis_client.exists("tasks:low")


def test_a_full_queue_is_said_so(redis_client: Redis, redis_url: str) -> None:
    lines = "".join(f'{{"description": "x", "task_id": "t-{n}"}}\n' for n in range(5))
    limited = ("submit", "--file", "-", "--backlog", "3", "--wait", "0")
    done = cortex(redis_url, *limited, stdin=lines)
    assert (done.returncode, done.stdout) == (1, "t-0\nt-1\nt-2\n")
    assert "(the backlog is 3 tasks, its limit 3)" in done.stderr
    assert done.stderr.endswith("doubles nothing: t-3 t-4\n")
    assert redis_client.xlen("tasks") == 3


def test_what_no_replica_has_is_not_counted(redis_client: Redis, redis_url: str) -> None:
    done = cortex(redis_url, "submit", "x", "--id", "t-1", "--confirm", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "unknown for 1 (only 0 of 1 replicas confirmed it)" in done.stderr
    assert redis_client.xlen("tasks") == 1


class Proxy:
    """Passes one connection at a time to a server, until the client sends `cut_after`."""

    def __init__(self, path: str, cut_after: bytes) -> None:
        self._path, self._cut_after = path, cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self._path)
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while request := client.recv(65_536):
            server.sendall(request)
            reply = server.recv(65_536)
            if self._cut_after in request:
                return
            client.sendall(reply)
