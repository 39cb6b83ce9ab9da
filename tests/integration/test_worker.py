"""The real worker process on a real server."""

from __future__ import annotations

import http.client
import os
import signal
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from contracts.messages import RolloutConfig
from streams.connect import connect
from streams.consumer import Consumer
from streams.control import read_log, set_config
from streams.keys import WORKERS, Keys
from streams.lane import Lane
from streams.master import Master
from streams.partitions import layout, partition_of
from streams.pump import Pump, PumpSettings
from tests.malformed import CASES, TOLERATED
from tests.system import RULES_ONLY, free_port, running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

    from chaos.servers import Server

KEYS = Keys()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """A server of the test's own, which the worker under test finds in the same folder."""
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


def decisions(client: redis.Redis) -> list[dict[str, object]]:
    return [orjson.loads(fields[b"decision"]) for _, fields in client.xrange(KEYS.decisions)]


def drained(client: redis.Redis) -> bool:
    groups = client.xinfo_groups(KEYS.tasks) if client.exists(KEYS.tasks) else []
    return bool(groups) and groups[0]["pending"] == groups[0]["lag"] == 0


def consumers(client: redis.Redis) -> int:
    return len(client.xinfo_consumers(KEYS.tasks, "workers")) if client.exists(KEYS.tasks) else 0


def test_every_malformed_task_is_a_dead_letter_and_every_good_one_is_decided(
    client: redis.Redis, tmp_path: Path
) -> None:
    good = 0
    expected = {}
    for number, case in enumerate(CASES):
        flat = [part for pair in case.fields for part in pair]
        entry_id = client.execute_command("XADD", KEYS.tasks, "*", *flat)
        expected[entry_id.decode()] = case.reason
        if number % (len(CASES) // 100) == 0:
            client.xadd(KEYS.tasks, {"task_id": f"good-{good}", "description": "fix the build"})
            good += 1
    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY)
    with running([worker]):
        wait_until(lambda: drained(client), 30, "everything settled")
    letters = [fields for _, fields in client.xrange(KEYS.dead)]
    got = {letter[b"entry_id"].decode(): letter[b"reason"].decode() for letter in letters}
    assert len(CASES) >= 200
    assert got == expected
    assert len(letters) == len(CASES)
    assert {d["task_id"] for d in decisions(client)} == {f"good-{n}" for n in range(good)}
    assert good >= 100


def test_odd_tasks_are_cleaned_and_decided_and_a_doubled_id_is_decided_once(
    client: redis.Redis, tmp_path: Path
) -> None:
    expected = []
    for number, case in enumerate(TOLERATED):
        fields = dict(case.fields)
        if fields[b"task_id"] == b"t-1":
            fields[b"task_id"] = b"odd-%d" % number
        client.xadd(KEYS.tasks, {**fields})
        client.xadd(KEYS.tasks, {**fields})
        expected.append((fields[b"task_id"].decode(), case.description))
    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY)
    with running([worker]):
        wait_until(lambda: drained(client), 30, "everything settled")
    assert [(d["task_id"], d["description"]) for d in decisions(client)] == expected
    assert client.xlen(KEYS.dead) == 0


def test_term_drains_and_leaves_nothing_behind(client: redis.Redis, tmp_path: Path) -> None:
    for n in range(3000):
        client.xadd(KEYS.tasks, {"task_id": f"t-{n}", "description": "upgrade the library"})
    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY)
    with running([worker]):
        wait_until(lambda: client.xlen(KEYS.decisions) > 100, 20, "the worker is in the middle")
        assert terminate(worker) == 0
    group = client.xinfo_groups(KEYS.tasks)[0]
    assert (group["pending"], group["consumers"]) == (0, 0)
    assert client.xlen(KEYS.decisions) + group["lag"] == 3000


def test_a_paused_worker_doubles_nothing(client: redis.Redis, tmp_path: Path) -> None:
    lease = {"WORKER_LEASE_MS": "300"}
    paused = spawn("worker", cwd=tmp_path, **RULES_ONLY, **lease)
    other = spawn("worker", cwd=tmp_path, **RULES_ONLY, **lease, WORKER_NAME="other")
    with running([paused, other]):
        wait_until(lambda: consumers(client) == 2, 20, "both read")
        with client.pipeline(transaction=False) as pipe:
            for n in range(20_000):
                pipe.xadd(KEYS.tasks, {"task_id": f"t-{n}", "description": "fix the build"})
            pipe.execute()
        paused.send_signal(signal.SIGSTOP)
        wait_until(lambda: drained(client), 30, "the other took over")
        paused.send_signal(signal.SIGCONT)
        assert terminate(paused) == 0
    assert client.xlen(KEYS.decisions) == 20_000
    assert len({d["task_id"] for d in decisions(client)}) == 20_000


def test_a_change_of_the_rollout_is_followed_within_a_second(
    client: redis.Redis, tmp_path: Path
) -> None:
    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY)
    with running([worker]):
        client.xadd(KEYS.tasks, {"task_id": "t-0", "description": "fix it"})
        wait_until(lambda: client.xlen(KEYS.decisions) == 1, 20, "the worker reads")
        set_config(
            client,
            KEYS,
            expected_version=None,
            changes={"percentage": "1.0"},
            who="test",
            why="to see it",
            defaults=RolloutConfig(enable_rag=False, enable_neural=False),
        )
        sent = 1

        def treated() -> bool:
            nonlocal sent
            client.xadd(KEYS.tasks, {"task_id": f"t-{sent}", "description": "fix it"})
            sent += 1
            return decisions(client)[-1]["ab_test_group"] == "treatment"

        wait_until(treated, 1.0, "a task in treatment")
        last = decisions(client)[-1]
    assert last["config_version"] == 1
    assert last["fallback_reason"] == "neural_disabled"


def test_liveness_does_not_ask_the_server_and_readiness_does(
    client: redis.Redis, tmp_path: Path
) -> None:
    port = free_port()
    health = {"WORKER_HEALTH_PORT": str(port), "WORKER_HEALTH_FILE": str(tmp_path / "beat")}

    def status(path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY, **health)
    with running([worker]):
        wait_until(lambda: status("/readyz") == 200, 20, "ready")
        wait_until((tmp_path / "beat").exists, 20, "the loop turns")
        server = client.info("server")["process_id"]
        os.kill(server, signal.SIGSTOP)
        try:
            wait_until(lambda: status("/readyz") == 503, 30, "not ready")
            assert status("/livez") == 200
        finally:
            os.kill(server, signal.SIGCONT)
        wait_until(lambda: status("/readyz") == 200, 20, "ready again")
        assert status("/nothing") == 404


def test_a_broken_encoder_costs_the_context_and_nothing_else(
    client: redis.Redis, tmp_path: Path
) -> None:
    client.xadd(KEYS.tasks, {"task_id": "t-0", "description": "fix the build"})
    worker = spawn("worker", cwd=tmp_path, CORTEX_ENCODER=str(tmp_path / "no-such-model"))
    with running([worker]):
        wait_until(lambda: client.xlen(KEYS.decisions) == 1, 30, "decided")
    (decision,) = decisions(client)
    assert (decision["context"], decision["context_status"]) == ([], "unavailable")
    assert b"no-such-model" in (tmp_path / "worker.log").read_bytes()


def test_term_ends_a_worker_within_ten_seconds_though_the_server_hangs(
    client: redis.Redis, tmp_path: Path
) -> None:
    worker = spawn("worker", cwd=tmp_path, **RULES_ONLY)
    with running([worker]):
        wait_until(lambda: consumers(client) == 1, 20, "the worker reads")
        server = client.info("server")["process_id"]
        os.kill(server, signal.SIGSTOP)
        try:
            assert terminate(worker) == 0
        finally:
            os.kill(server, signal.SIGCONT)


def test_a_short_lease_is_kept_while_the_reader_waits_for_more(redis_client: redis.Redis) -> None:
    def member(name: str) -> Consumer:
        return Consumer(redis_client, KEYS.task_streams, WORKERS, name, lease_ms=200)

    redis_client.xadd(KEYS.tasks, {"task_id": "t-0", "description": "fix it"})
    pump = Pump([Lane(member("slow"), KEYS)], redis_client)
    pump.start()
    assert next(pump.batches())
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert member("other").stale(1) == []
    pump.settings = PumpSettings(drain_seconds=0)
    pump.close()


def test_a_worker_of_two_partitions_of_a_cluster(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    port, bus = free_port(), free_port()
    parts = layout("", 2)
    keys = parts[0]
    cluster = ("--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", str(bus))
    with connect(make_server(None, "--port", str(port), *cluster).url) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(
            lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok", 20, "a cluster"
        )
    url = f"redis+cluster://127.0.0.1:{port}"
    with connect(url) as client:
        for n in range(100):
            task_id = f"t-{n % 90}"
            part = parts[partition_of(task_id, 2)]
            client.xadd(part.tasks, {"task_id": task_id, "description": "fix it"})
        for part in parts:
            client.xadd(part.tasks, {"task_id": "t-90"})
        half = {"percentage": "0.5"}
        set_config(client, keys, expected_version=0, changes=half, who="test", why="to see it")
        assert [change.after for change in read_log(client, keys)] == [half]
        worker = spawn("worker", cwd=tmp_path, REDIS_URL=url, CORTEX_PARTITIONS="2", **RULES_ONLY)
        with running([worker]):
            wait_until(
                lambda: all(client.xlen(part.dead) for part in parts), 20, "everything settled"
            )
            assert terminate(worker) == 0
        decided = [
            orjson.loads(fields[b"decision"])
            for part in parts
            for _, fields in client.xrange(part.decisions)
        ]
        assert sorted(each["task_id"] for each in decided) == sorted(f"t-{n}" for n in range(90))
        assert all(client.xlen(part.decisions) for part in parts)
        name = str(decided[0]["selected_master"])
        master = Master(client, name, keys=parts)
        taken = list(master.decisions(wait=False))
        assert {each.task_id for each in taken} == {
            each["task_id"] for each in decided if each["selected_master"] == name
        }
        assert [master.report(taken[-1], "success"), client.xlen(keys.outcomes)] == [True, 1]
        assert {each["config_version"] for each in decided} == {1}
