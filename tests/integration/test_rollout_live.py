"""A rollout goes back and forth under load; every process is real, and so is the model."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from chaos.live_rollout import (
    Load,
    Settled,
    changed_at,
    configurations,
    followed_after,
    mixed,
    settled,
)
from contracts.messages import RolloutConfig
from registry.registry import Registry
from streams.connect import connect
from streams.keys import Keys
from tests.router_models import write_model
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    import redis

KEYS = Keys()
RATE = 200  # tasks a second
FOLLOWED_S = 1.0  # in which a change must have reached every worker
WINDOW_S = 2  # in which a task id is remembered, so that it can be replayed
ENVIRONMENT = {"ENABLE_RAG": "false", "WORKER_IDEMPOTENCY_S": str(WINDOW_S)}
FRESH = RolloutConfig(enable_rag=False)


class Operator:
    """Somebody at a shell, and two workers' logs to look at."""

    def __init__(self, home: Path, client: redis.Redis) -> None:
        self._home, self._client = home, client

    def does(self, *command: str) -> int:
        """Run `cortex rollout`; returns the version of the configuration then."""
        process = spawn("rollout", *command, cwd=self._home)
        assert process.wait(30) == 0, (self._home / "rollout.log").read_text()
        return int(self._client.hget(KEYS.rollout, "version") or 0)

    def seen(self, version: int) -> int:
        """How many workers have said that they follow a version."""
        lines = (self._home / "worker.log").read_bytes().splitlines()
        logged = [json.loads(line) for line in lines if b'"configuration"' in line]
        return sum(each["version"] == version for each in logged)

    def until_seen(self, version: int) -> None:
        wait_until(lambda: self.seen(version) == 2, 10, f"both workers follow version {version}")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


@pytest.fixture
def operator(tmp_path: Path, client: redis.Redis) -> Operator:
    return Operator(tmp_path, client)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two, with a model that gives everything to one master; they are ready to ask it."""
    registry = Registry(tmp_path / ".cortex" / "models")
    write_model(tmp_path / "model", "security-master")
    registry.promote(registry.add(tmp_path / "model"), who="test")
    started = [spawn("worker", cwd=tmp_path, **ENVIRONMENT, WORKER_NAME=name) for name in "ab"]

    def both_read() -> bool:
        log = tmp_path / "worker.log"
        return log.exists() and log.read_bytes().count(b'"reading"') == 2

    with running(started):
        wait_until(both_read, 60, "both workers read")
        yield started


def until_decided(client: redis.Redis, count: int) -> None:
    wait_until(lambda: client.xlen(KEYS.decisions) >= count, 60, f"{count} decisions")


def assert_sound(client: redis.Redis, sent: list[str]) -> list[Settled]:
    """Each task was decided once, and under one version."""
    found = settled(client, KEYS)
    assert Counter(each.decision.task_id for each in found) == Counter(sent)
    assert not client.exists(KEYS.dead)
    configs = configurations(client, KEYS, FRESH)
    assert [why for each in found if (why := mixed(each.decision, configs))] == []
    return found


def test_a_rollback_is_followed_by_every_worker_within_a_second(
    client: redis.Redis, workers: list[subprocess.Popen[bytes]], operator: Operator
) -> None:
    operator.until_seen(operator.does("set", "0.5"))
    load = Load(client, KEYS, RATE)
    with load.flowing():
        until_decided(client, 2 * RATE)
        version = operator.does("rollback", "--why", "worse")
        made = time.monotonic()
        operator.until_seen(version)
        until_decided(client, client.xlen(KEYS.decisions) + RATE)
        wait_until(lambda: time.monotonic() - made > FOLLOWED_S, 5, "a worker could be late")
    until_decided(client, len(load.sent))
    assert [terminate(each) for each in workers] == [0, 0]

    found = assert_sound(client, load.sent)
    assert followed_after(found, version, changed_at(client, KEYS)[version]) < FOLLOWED_S
    before = [each.decision for each in found if each.decision.config_version < version]
    after = [each.decision for each in found if each.decision.config_version == version]
    assert {each.method for each in before} == {"neural", "rule-based"}
    assert {each.ab_test_group for each in after} == {"control"}
    assert {each.method for each in after} == {"rule-based"}


def test_a_larger_share_changes_only_tasks_whose_bucket_says_so(
    client: redis.Redis, workers: list[subprocess.Popen[bytes]], operator: Operator
) -> None:
    replayed = [f"again-{number}" for number in range(2 * RATE)]
    load = Load(client, KEYS, RATE)
    versions = []
    for share in ("0.1", "0.25"):
        versions.append(operator.does("set", share))
        operator.until_seen(versions[-1])
        wait_until(lambda: not client.exists(*map(KEYS.done, replayed)), 10, "ids are forgotten")
        for task_id in replayed:
            load.send(task_id)
        until_decided(client, len(load.sent))
    assert [terminate(each) for each in workers] == [0, 0]

    found = [each.decision for each in assert_sound(client, load.sent)]
    first, second = (
        {each.task_id: each for each in found if each.config_version == version}
        for version in versions
    )
    assert first.keys() == second.keys() == set(replayed)
    moved = {
        task_id
        for task_id, each in first.items()
        if each.ab_test_group != second[task_id].ab_test_group
    }
    assert moved == {task_id for task_id, each in first.items() if 1_000 <= each.bucket < 2_500}
    assert {first[task_id].method for task_id in moved} == {"rule-based"}
    assert {second[task_id].method for task_id in moved} == {"neural"}
    for task_id in replayed:
        if task_id not in moved:
            assert first[task_id].selected_master == second[task_id].selected_master
            assert first[task_id].method == second[task_id].method
